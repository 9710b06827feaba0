"""Clients that people call Twilio's API with, and the result of each under `ringback run`, offline.

A program is in its client's usual words. It sends the forms GOOD and BAD to URL and prints both answers.
`docs/clients.md` has the table; `test_tried.py` holds it to these rows, and runs the programs.
"""

# ruff: noqa: E501 - programs in other languages, whose lines read best unbroken

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SERVED: Final = "served"
STOPPED: Final = "stopped and named"
UNTRUSTED: Final = "noticed: CA not trusted"
BY_WITNESS: Final = "stopped and named by the witness"  # else NOTICED
NOTICED: Final = "noticed: no request came"


@dataclass(frozen=True)
class Row:
    """One client.

    Attributes:
        client: Its name and what is special about it.
        language: The key of `test_tried.RUNNERS`.
        source: The program.
        result: The result of `ringback run`; it is NOTICED for BY_WITNESS where no witness is.
        everywhere: The result with `--mount-namespace`; empty where it is the same.
        packages: What its package manager fetches, with a version.
    """

    client: str
    language: str
    source: str
    result: str
    everywhere: str = ""
    packages: tuple[str, ...] = ()


_PY: Final = (
    "import os, base64\nE = os.environ\nH = {'Authorization': E['AUTH'], 'Content-Type': E['TYPE']}\n"
)
_PY_LOOP: Final = _PY + "for form in (E['GOOD'], E['BAD']):\n    "


def _python(name: str, line: str, result: str, *packages: str, before: str = "", everywhere: str = "") -> Row:
    return Row(name, "Python", f"{before}\n{_PY_LOOP}{line}\n", result, everywhere, packages)


_RUBY: Final = "E = ENV\nH = { 'Authorization' => E['AUTH'], 'Content-Type' => E['TYPE'] }\n"


def _ruby(name: str, before: str, line: str, result: str, everywhere: str = "") -> Row:
    return Row(
        name, "Ruby", f"{before}\n{_RUBY}[E['GOOD'], E['BAD']].each {{ |form| {line} }}\n", result, everywhere
    )


_JS: Final = """const E = process.env;
const H = { Authorization: E.AUTH, 'Content-Type': E.TYPE };
for (const form of [E.GOOD, E.BAD]) {
  try { console.log(%s); } catch (error) { console.log(String(error.cause || error)); process.exitCode = 0; }
}
"""


def _js(
    name: str,
    before: str,
    line: str,
    result: str,
    *packages: str,
    language: str = "Node.js",
    everywhere: str = "",
) -> Row:
    return Row(name, language, f"{before}\n{_JS % line}", result, everywhere, packages)


def _perl(name: str, use: str, line: str, result: str, everywhere: str = "") -> Row:
    return Row(
        name, "Perl", f"{use}\nfor my $form ($ENV{{GOOD}}, $ENV{{BAD}}) {{ {line} }}\n", result, everywhere
    )


_PHP: Final = "<?php\nforeach ([getenv('GOOD'), getenv('BAD')] as $form) {\n  %s\n}\n"
_PHP_CURL: Final = (
    "$c = curl_init(getenv('URL')); curl_setopt_array($c, [CURLOPT_POSTFIELDS => $form, "
    "CURLOPT_RETURNTRANSFER => true, CURLOPT_HTTPHEADER => ['Authorization: ' . getenv('AUTH')]%s]); "
    "echo curl_exec($c), curl_error($c);"
)
_PHP_STREAM: Final = (
    "echo @file_get_contents(getenv('URL'), false, stream_context_create(['http' => ['method' => 'POST', "
    "'ignore_errors' => true, 'content' => $form%s, "
    "'header' => 'Authorization: ' . getenv('AUTH') . \"\\r\\nContent-Type: \" . getenv('TYPE')]]));"
)
_GUZZLE: Final = (
    "require_once '/usr/share/php/GuzzleHttp/autoload.php'; "
    "try { echo (new GuzzleHttp\\Client(['http_errors' => false%s]))->post(getenv('URL'), ['body' => $form, "
    "'headers' => ['Authorization' => getenv('AUTH'), 'Content-Type' => getenv('TYPE')]])->getBody(); } "
    "catch (Exception $error) { echo $error->getMessage(); }"
)

_CURL: Final = 'for form in "$GOOD" "$BAD"; do %s; done; true\n'
_CURL_SENDS: Final = 'curl -sS%s -H "Authorization: $AUTH" -d "$form" "$URL"'
_WGET_SENDS: Final = (
    'wget -q%s --content-on-error -O - --header "Authorization: $AUTH" --post-data "$form" "$URL"'
)

_GO: Final = """package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
%(imports)s)

func main() {
	for _, form := range []string{os.Getenv("GOOD"), os.Getenv("BAD")} {
		%(body)s
	}
}

var _ = fmt.Sprint
var _ = io.EOF
var _ = http.MethodGet
var _ = strings.ToLower
"""
_GO_HTTP: Final = """client := %s
		request, _ := http.NewRequest("POST", os.Getenv("URL"), strings.NewReader(form))
		request.Header.Set("Authorization", os.Getenv("AUTH"))
		request.Header.Set("Content-Type", os.Getenv("TYPE"))
		answer, err := client.Do(request)
		if err != nil {
			fmt.Println(err)
			continue
		}
		body, _ := io.ReadAll(answer.Body)
		fmt.Println(string(body))"""


def _go(name: str, body: str, result: str, *packages: str, imports: str = "", everywhere: str = "") -> Row:
    source = _GO % {"imports": imports, "body": body}
    return Row(name, "Go", source, result, everywhere, packages)


_RUST_REQWEST: Final = """fn main() {
    let client = reqwest::blocking::Client::builder()%s.build().unwrap();
    for name in ["GOOD", "BAD"] {
        let sent = client.post(std::env::var("URL").unwrap())
            .header("Authorization", std::env::var("AUTH").unwrap())
            .header("Content-Type", std::env::var("TYPE").unwrap())
            .body(std::env::var(name).unwrap()).send();
        match sent { Ok(answer) => println!("{}", answer.text().unwrap()), Err(error) => println!("{error:?}") }
    }
}
"""
_RUST_UREQ: Final = """fn main() {
    for name in ["GOOD", "BAD"] {
        let sent = ureq::post(&std::env::var("URL").unwrap())
            .set("Authorization", &std::env::var("AUTH").unwrap())
            .set("Content-Type", &std::env::var("TYPE").unwrap())
            .send_string(&std::env::var(name).unwrap());
        match sent {
            Ok(answer) | Err(ureq::Error::Status(_, answer)) => println!("{}", answer.into_string().unwrap()),
            Err(error) => println!("{error:?}"),
        }
    }
}
"""

_JAVA: Final = """import java.util.Map;
%(imports)s
public class Tried {
    static String url = System.getenv("URL"), auth = System.getenv("AUTH"), type = System.getenv("TYPE");

    public static void main(String[] words) throws Exception {
        for (String form : new String[] {System.getenv("GOOD"), System.getenv("BAD")}) {
            try {
                System.out.println(send(form));
            } catch (Exception error) {
                System.out.println(error);
            }
        }
        System.exit(0);
    }

    static String send(String form) throws Exception {
        %(body)s
    }
}
"""


def _java(name: str, imports: str, body: str, result: str, *packages: str, everywhere: str = "") -> Row:
    source = _JAVA % {"imports": imports, "body": body}
    return Row(name, "Java", source, result, everywhere, packages)


_JDK: Final = (
    "return java.net.http.HttpClient.newBuilder()%s.build().send("
    'java.net.http.HttpRequest.newBuilder(java.net.URI.create(url)).header("Authorization", auth)'
    '.header("Content-Type", type).POST(java.net.http.HttpRequest.BodyPublishers.ofString(form)).build(), '
    "java.net.http.HttpResponse.BodyHandlers.ofString()).body();"
)
_OKHTTP: Final = (
    "try (okhttp3.Response answer = new okhttp3.OkHttpClient.Builder()%s.build().newCall("
    'new okhttp3.Request.Builder().url(url).header("Authorization", auth).post(okhttp3.RequestBody.create('
    "form, okhttp3.MediaType.get(type))).build()).execute()) { return answer.body().string(); }"
)
_AHC: Final = (
    "try (var client = org.asynchttpclient.Dsl.asyncHttpClient(%s)) { return client.preparePost(url)"
    '.setHeader("Authorization", auth).setHeader("Content-Type", type).setBody(form).execute().get()'
    ".getResponseBody(); }"
)
_WEBCLIENT: Final = (
    'return reactor.netty.http.client.HttpClient.create()%s.headers(h -> h.add("Authorization", auth)'
    '.add("Content-Type", type)).post().uri(url).send(reactor.netty.ByteBufFlux.fromString('
    "reactor.core.publisher.Mono.just(form))).responseContent().aggregate().asString().block();"
)
_VERTX: Final = (
    "io.vertx.core.Vertx vertx = io.vertx.core.Vertx.vertx(); "
    'return io.vertx.ext.web.client.WebClient.create(vertx).postAbs(url).putHeader("Authorization", auth)'
    '.putHeader("Content-Type", type).sendBuffer(io.vertx.core.buffer.Buffer.buffer(form))'
    ".toCompletionStage().toCompletableFuture().get().bodyAsString();"
)

_ELIXIR: Final = """
:inets.start(); :ssl.start()
%s
for form <- [System.get_env("GOOD"), System.get_env("BAD")] do
  headers = [{~c"Authorization", String.to_charlist(System.get_env("AUTH"))}]
  request = {String.to_charlist(System.get_env("URL")), headers, String.to_charlist(System.get_env("TYPE")), form}
  ssl = [verify: :verify_peer, cacertfile: String.to_charlist(%s)]
  case :httpc.request(:post, request, [ssl: ssl], []) do
    {:ok, {_, _, body}} -> IO.puts(body)
    other -> IO.inspect(other)
  end
end
"""
_ELIXIR_PROXY: Final = """
proxy = URI.parse(System.get_env("HTTPS_PROXY"))
:httpc.set_options(https_proxy: {{String.to_charlist(proxy.host), proxy.port}, []})
"""
_R: Final = """
library(httr)
%sfor (form in c(Sys.getenv("GOOD"), Sys.getenv("BAD"))) {
  answer <- try(POST(Sys.getenv("URL"), body = form,
                     add_headers(Authorization = Sys.getenv("AUTH"), `Content-Type` = Sys.getenv("TYPE"))))
  cat(if (inherits(answer, "try-error")) "" else content(answer, "text", encoding = "UTF-8"))
}
"""

_HTTPX: Final = "print(httpx.Client(%s).post(E['URL'], content=form, headers=H).text)"
_AIO: Final = "print(asyncio.run(sent(form)))"
_AIOHTTP: Final = (
    "import asyncio, aiohttp, os\nasync def sent(form):\n"
    "    async with aiohttp.ClientSession(%s) as session:\n"
    "        async with session.post(E['URL'], data=form, headers=H) as answer:\n"
    "            return await answer.text()\n"
)
_AIOSONIC: Final = (
    "import asyncio, aiosonic\nasync def sent(form):\n"
    "    async with aiosonic.HTTPClient() as client:\n"
    "        return await (await client.post(E['URL'], data=form, headers=H)).text()\n"
)
_TORNADO: Final = (
    "import asyncio\nfrom tornado.httpclient import AsyncHTTPClient\n%sasync def sent(form):\n"
    "    answer = await AsyncHTTPClient().fetch(E['URL'], method='POST', body=form, headers=H, raise_error=False)\n"
    "    return answer.body or answer.error\n"
)
_PYCURL: Final = (
    "c = pycurl.Curl(); c.setopt(c.URL, E['URL']); c.setopt(c.POSTFIELDS, form)\n"
    "    c.setopt(c.HTTPHEADER, ['Authorization: ' + E['AUTH']])%s\n"
    "    try:\n        c.perform()\n    except pycurl.error as error:\n        print(error)"
)
_FETCH: Final = "await (await fetch(E.URL, { method: 'POST', body: form, headers: H })).text()"
_AXIOS: Final = (
    "JSON.stringify((await axios.post(E.URL, form, { headers: H, validateStatus: () => true%s })).data)"
)
_GOT: Final = "(await got.post(E.URL, { body: form, headers: H, throwHttpErrors: false%s })).body"
_WRAPPED: Final = "try:\n        {}\n    except Exception as error:\n        print(error)"


def _tries(line: str) -> str:
    return _WRAPPED.format(line)


ROWS: Final = (
    _ruby("Net::HTTP", "require 'net/http'", "puts Net::HTTP.post(URI(E['URL']), form, H).body", SERVED),
    _ruby(
        "Net::HTTP with proxy nil",
        "require 'net/http'",
        "begin; Net::HTTP.new(URI(E['URL']).host, 443, nil).tap { |it| it.use_ssl = true }"
        ".post(URI(E['URL']).path, form, H); rescue SocketError => error; puts error; end",
        STOPPED,
    ),
    _ruby(
        "Net::HTTP with WebMock, allow_net_connect!",
        "require 'net/http'\nrequire 'webmock'\nWebMock.enable!\nWebMock.allow_net_connect!",
        "puts Net::HTTP.post(URI(E['URL']), form, H).body",
        SERVED,
    ),
    _ruby(
        "RestClient",
        "require 'rest-client'",
        "puts RestClient.post(E['URL'], form, H) { |answer| answer.body }",
        SERVED,
    ),
    _ruby(
        "HTTParty", "require 'httparty'", "puts HTTParty.post(E['URL'], body: form, headers: H).body", SERVED
    ),
    _ruby("Excon", "require 'excon'", "puts Excon.post(E['URL'], body: form, headers: H).body", SERVED),
    _ruby("HTTPClient", "require 'httpclient'", "puts HTTPClient.new.post(E['URL'], form, H).body", SERVED),
    _ruby("Faraday", "require 'faraday'", "puts Faraday.post(E['URL'], form, H).body", SERVED),
    _ruby(
        "Typhoeus",
        "require 'typhoeus'",
        "puts Typhoeus.post(E['URL'], body: form, headers: H).body",
        UNTRUSTED,
        SERVED,
    ),
    _ruby(
        "Typhoeus with cainfo",
        "require 'typhoeus'",
        "puts Typhoeus.post(E['URL'], body: form, headers: H, cainfo: E['SSL_CERT_FILE']).body",
        SERVED,
    ),
    _ruby(
        "Faraday on Typhoeus",
        "require 'typhoeus/adapters/faraday'",
        "begin; puts Faraday.new { |it| it.adapter :typhoeus }.post(E['URL'], form, H).body; "
        "rescue Faraday::Error => error; puts error; end",
        UNTRUSTED,
        SERVED,
    ),
    _ruby(
        "curb",
        "require 'curb'",
        "begin; puts Curl::Easy.http_post(E['URL'], form) { |c| c.headers = H }.body_str; "
        "rescue Curl::Err::CurlError => error; puts error; end",
        UNTRUSTED,
        SERVED,
    ),
    _ruby(
        "http.rb",
        "require 'http'",
        "begin; puts HTTP.headers(H).post(E['URL'], body: form); rescue HTTP::Error, IOError, SocketError => error; "
        "puts error; end",
        STOPPED,
    ),
    _ruby(
        "http.rb with via",
        "require 'http'",
        "puts HTTP.via(*URI(E['HTTPS_PROXY']).then { |it| [it.host, it.port] }).headers(H).post(E['URL'], body: form)",
        SERVED,
    ),
    Row("ext-curl", "PHP", _PHP % (_PHP_CURL % ""), SERVED),
    Row(
        "ext-curl with CURLOPT_PROXY ''",
        "PHP",
        _PHP % (_PHP_CURL % ", CURLOPT_PROXY => ''"),
        BY_WITNESS,
    ),
    Row(
        "streams with a proxy in the context",
        "PHP",
        _PHP % (_PHP_STREAM % ", 'proxy' => str_replace('http', 'tcp', getenv('HTTPS_PROXY'))"),
        SERVED,
    ),
    Row("file_get_contents", "PHP", _PHP % (_PHP_STREAM % ""), BY_WITNESS),
    Row("Guzzle", "PHP", _PHP % (_GUZZLE % ""), SERVED),
    Row("Guzzle with proxy ''", "PHP", _PHP % (_GUZZLE % ", 'proxy' => ''"), BY_WITNESS),
    Row(
        "Guzzle with verify naming other roots",
        "PHP",
        _PHP % (_GUZZLE % ", 'verify' => '/etc/ssl/certs/ca-certificates.crt'"),
        UNTRUSTED,
        SERVED,
    ),
    _python("httpx", _HTTPX % "", SERVED, "httpx[http2]==0.28.1", before="import httpx"),
    _python("httpx with http2", _HTTPX % "http2=True", SERVED, "httpx[http2]==0.28.1", before="import httpx"),
    _python(
        "httpx with trust_env=False",
        _tries(_HTTPX % "trust_env=False"),
        STOPPED,
        "httpx[http2]==0.28.1",
        before="import httpx",
    ),
    _python("aiohttp", _AIO, SERVED, "aiohttp==3.14.5", before=_PY + _AIOHTTP % ""),
    _python(
        "aiohttp with trust_env=False",
        _tries(_AIO),
        STOPPED,
        "aiohttp==3.14.5",
        before=_PY + _AIOHTTP % "trust_env=False",
    ),
    _python(
        "niquests",
        "print(niquests.post(E['URL'], data=form, headers=H).text)",
        SERVED,
        "niquests==3.21.2",
        before="import niquests",
    ),
    _python(
        "requests",
        "print(requests.post(E['URL'], data=form, headers=H).text)",
        SERVED,
        "requests==2.32.5",
        before="import requests",
    ),
    _python(
        "requests with trust_env=False",
        _tries("print(session.post(E['URL'], data=form, headers=H).text)"),
        STOPPED,
        "requests==2.32.5",
        before="import requests\nsession = requests.Session()\nsession.trust_env = False",
    ),
    _python(
        "urllib3 with ProxyManager",
        "print(urllib3.ProxyManager(E['HTTPS_PROXY']).request('POST', E['URL'], body=form, headers=H).data)",
        SERVED,
        "requests==2.32.5",
        before="import urllib3",
    ),
    _python(
        "urllib3 with PoolManager",
        _tries(
            "print(urllib3.PoolManager(retries=False).request('POST', E['URL'], body=form, headers=H).data)"
        ),
        STOPPED,
        "requests==2.32.5",
        before="import urllib3",
    ),
    _python(
        "http.client",
        _tries("h.HTTPSConnection('api.twilio.com').request('POST', E['URL'], form, H)"),
        STOPPED,
        before="import http.client as h",
    ),
    _python("tornado", _tries(_AIO), STOPPED, "tornado==6.6.1", before=_PY + _TORNADO % ""),
    _python("aiosonic", _tries(_AIO), STOPPED, "aiosonic==1.3.3", before=_PY + _AIOSONIC),
    _python(
        "tornado's curl client",
        _tries(_AIO),
        UNTRUSTED,
        "tornado==6.6.1",
        "pycurl==7.49.0",
        before=_PY + _TORNADO % "AsyncHTTPClient.configure('tornado.curl_httpclient.CurlAsyncHTTPClient')\n",
        everywhere=SERVED,
    ),
    _python("pycurl", _PYCURL % "", UNTRUSTED, "pycurl==7.49.0", before="import pycurl", everywhere=SERVED),
    _python(
        "pycurl with CAINFO",
        _PYCURL % "; c.setopt(c.CAINFO, E['SSL_CERT_FILE'])",
        SERVED,
        "pycurl==7.49.0",
        before="import pycurl",
    ),
    _js("fetch", "", _FETCH, SERVED),
    _js("axios", "import axios from 'axios';", _AXIOS % "", SERVED, "axios@1.21.1"),
    _js(
        "axios with proxy: false",
        "import axios from 'axios';",
        _AXIOS % ", proxy: false",
        SERVED,
        "axios@1.21.1",
    ),
    _js("got", "import got from 'got';", _GOT % "", SERVED, "got@14.6.6"),
    _js(
        "got with http2",
        "import got from 'got';",
        _GOT % ", http2: true, retry: { limit: 0 }",
        STOPPED,
        "got@14.6.6",
    ),
    _js("node-fetch", "import fetch from 'node-fetch';", _FETCH, SERVED, "node-fetch@3.3.2"),
    _js(
        "ky",
        "import ky from 'ky';",
        "await ky.post(E.URL, { body: form, headers: H, throwHttpErrors: false }).text()",
        SERVED,
        "ky@1.14.3",
    ),
    _js(
        "superagent",
        "import agent from 'superagent';",
        "(await agent.post(E.URL).set(H).ok(() => true).send(form)).text",
        SERVED,
        "superagent@10.4.2",
    ),
    _js(
        "needle",
        "import needle from 'needle';",
        "JSON.stringify((await needle('post', E.URL, form, { headers: H })).body)",
        SERVED,
        "needle@3.5.0",
    ),
    _js(
        "undici",
        "import { request } from 'undici';",
        "await (await request(E.URL, { method: 'POST', body: form, headers: H })).body.text()",
        SERVED,
        "undici@7.30.0",
    ),
    _js(
        "request",
        "import request from 'request';\nimport { promisify } from 'util';",
        "(await promisify(request.post)({ url: E.URL, body: form, headers: H })).body",
        SERVED,
        "request@2.88.2",
    ),
    _js(
        "@hapi/wreck",
        "import Wreck from '@hapi/wreck';",
        "String((await Wreck.post(E.URL, { payload: form, headers: H })).payload)",
        STOPPED,
        "@hapi/wreck@18.1.2",
    ),
    _js(
        "http2",
        "import http2 from 'http2';",
        "await new Promise((done) => http2.connect('https://api.twilio.com').on('error', done))",
        STOPPED,
    ),
    _js("fetch", "", _FETCH, SERVED, "deno@2.9.6", language="Deno"),
    _js(
        "axios",
        "import axios from 'axios';",
        _AXIOS % "",
        SERVED,
        "deno@2.9.6",
        "axios@1.21.1",
        language="Deno",
    ),
    _js("got", "import got from 'got';", _GOT % "", SERVED, "deno@2.9.6", "got@14.6.6", language="Deno"),
    _js(
        "undici",
        "import { request } from 'undici';",
        "await (await request(E.URL, { method: 'POST', body: form, headers: H })).body.text()",
        STOPPED,
        "deno@2.9.6",
        "undici@7.30.0",
        language="Deno",
    ),
    _js("fetch", "", _FETCH, SERVED, "bun@1.4.5", language="Bun"),
    _js(
        "axios",
        "import axios from 'axios';",
        _AXIOS % "",
        SERVED,
        "bun@1.4.5",
        "axios@1.21.1",
        language="Bun",
    ),
    _js(
        "node-fetch",
        "import fetch from 'node-fetch';",
        _FETCH,
        SERVED,
        "bun@1.4.5",
        "node-fetch@3.3.2",
        language="Bun",
    ),
    _js("got", "import got from 'got';", _GOT % "", SERVED, "bun@1.4.5", "got@14.6.6", language="Bun"),
    _js(
        "superagent",
        "import agent from 'superagent';",
        "(await agent.post(E.URL).set(H).ok(() => true).send(form)).text",
        BY_WITNESS,
        "bun@1.4.5",
        "superagent@10.4.2",
        language="Bun",
    ),
    _go("net/http", _GO_HTTP % "http.DefaultClient", SERVED),
    _go(
        "net/http with a transport of its own",
        _GO_HTTP % "http.Client{Transport: &http.Transport{}}",
        BY_WITNESS,
    ),
    _go(
        "net/http with ProxyFromEnvironment",
        _GO_HTTP % "http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}",
        SERVED,
    ),
    _go(
        "resty",
        'answer, err := resty.New().R().SetHeader("Authorization", os.Getenv("AUTH")).SetHeader("Content-Type", '
        'os.Getenv("TYPE")).SetBody(form).Post(os.Getenv("URL"))\n\t\tfmt.Println(answer, err)',
        SERVED,
        "github.com/go-resty/resty/v2@v2.17.2",
        imports='\t"github.com/go-resty/resty/v2"\n',
    ),
    _go(
        "fasthttp",
        "request, answer := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()\n\t\trequest.SetRequestURI("
        'os.Getenv("URL"))\n\t\trequest.Header.SetMethod("POST")\n\t\trequest.Header.Set("Authorization", '
        'os.Getenv("AUTH"))\n\t\trequest.Header.SetContentType(os.Getenv("TYPE"))\n\t\trequest.SetBodyString(form)\n'
        "\t\terr := fasthttp.Do(request, answer)\n\t\tfmt.Println(string(answer.Body()), err)",
        BY_WITNESS,
        "github.com/valyala/fasthttp@v1.78.0",
        imports='\t"github.com/valyala/fasthttp"\n',
    ),
    Row(
        "reqwest, native-tls",
        "Rust",
        _RUST_REQWEST % "",
        SERVED,
        "",
        ('reqwest = { version = "0.12", features = ["blocking"] }',),
    ),
    Row(
        "reqwest, rustls with native roots",
        "Rust",
        _RUST_REQWEST % "",
        SERVED,
        "",
        (
            'reqwest = { version = "0.12", default-features = false, features = ["blocking", "rustls-tls-native-roots"] }',
        ),
    ),
    Row(
        "reqwest, rustls with webpki-roots",
        "Rust",
        _RUST_REQWEST % "",
        UNTRUSTED,
        "",
        (
            'reqwest = { version = "0.12", default-features = false, features = ["blocking", "rustls-tls-webpki-roots"] }',
        ),
    ),
    Row(
        "reqwest with no_proxy()",
        "Rust",
        _RUST_REQWEST % ".no_proxy()",
        BY_WITNESS,
        "",
        ('reqwest = { version = "0.12", features = ["blocking"] }',),
    ),
    Row("ureq 2", "Rust", _RUST_UREQ, BY_WITNESS, "", ('ureq = "2"',)),
    Row(
        "ureq 2 with proxy-from-env",
        "Rust",
        _RUST_UREQ,
        UNTRUSTED,
        "",
        ('ureq = { version = "2", features = ["proxy-from-env"] }',),
    ),
    Row(
        "ureq 2 with proxy-from-env and native-certs",
        "Rust",
        _RUST_UREQ,
        SERVED,
        "",
        ('ureq = { version = "2", features = ["proxy-from-env", "native-certs"] }',),
    ),
    _java("HttpClient", "", _JDK % "", SERVED),
    _java(
        "HttpClient with NO_PROXY", "", _JDK % ".proxy(java.net.http.HttpClient.Builder.NO_PROXY)", STOPPED
    ),
    _java("OkHttp", "", _OKHTTP % "", SERVED, "com.squareup.okhttp3:okhttp:4.12.0"),
    _java(
        "OkHttp with NO_PROXY",
        "",
        _OKHTTP % ".proxy(java.net.Proxy.NO_PROXY)",
        SERVED,
        "com.squareup.okhttp3:okhttp:4.12.0",
    ),
    _java(
        "Apache HttpClient 5",
        "",
        "try (var client = org.apache.hc.client5.http.impl.classic.HttpClients.createDefault()) { "
        "var post = new org.apache.hc.client5.http.classic.methods.HttpPost(url); "
        'post.setHeader("Authorization", auth); post.setEntity(new org.apache.hc.core5.http.io.entity.StringEntity('
        "form, org.apache.hc.core5.http.ContentType.parse(type))); "
        "return client.execute(post, it -> org.apache.hc.core5.http.io.entity.EntityUtils.toString(it.getEntity())); }",
        SERVED,
        "org.apache.httpcomponents.client5:httpclient5:5.4.1",
    ),
    _java(
        "Spring RestClient",
        "",
        'return org.springframework.web.client.RestClient.create().post().uri(url).header("Authorization", auth)'
        '.header("Content-Type", type).body(form).exchange((request, answer) -> '
        "new String(answer.getBody().readAllBytes()));",
        SERVED,
        "org.springframework:spring-web:6.2.1",
    ),
    _java(
        "Unirest",
        "",
        'return kong.unirest.core.Unirest.post(url).header("Authorization", auth).header("Content-Type", type)'
        ".body(form).asString().getBody();",
        SERVED,
        "com.konghq:unirest-java-core:4.4.5",
    ),
    _java("AsyncHttpClient", "", _AHC % "", STOPPED, "org.asynchttpclient:async-http-client:3.0.1"),
    _java(
        "AsyncHttpClient with proxySelector",
        "",
        _AHC % "org.asynchttpclient.Dsl.config().setUseProxySelector(true)",
        SERVED,
        "org.asynchttpclient:async-http-client:3.0.1",
    ),
    _java(
        "Jetty",
        "",
        "var client = new org.eclipse.jetty.client.HttpClient(); client.start(); try { return client.POST(url)"
        '.headers(it -> it.add("Authorization", auth)).body(new org.eclipse.jetty.client.StringRequestContent('
        "type, form)).send().getContentAsString(); } finally { client.stop(); }",
        STOPPED,
        "org.eclipse.jetty:jetty-client:12.0.16",
    ),
    _java("reactor-netty", "", _WEBCLIENT % "", STOPPED, "io.projectreactor.netty:reactor-netty-http:1.2.1"),
    _java(
        "reactor-netty, proxyWithSystemProperties",
        "",
        _WEBCLIENT % ".proxyWithSystemProperties()",
        STOPPED,
        "io.projectreactor.netty:reactor-netty-http:1.2.1",
    ),
    _java(
        "Vert.x",
        "",
        _VERTX,
        BY_WITNESS,
        "io.vertx:vertx-web-client:4.5.11",
    ),
    _perl(
        "HTTP::Tiny",
        "use HTTP::Tiny; my %h = ('Authorization' => $ENV{AUTH}, 'Content-Type' => $ENV{TYPE});",
        "print HTTP::Tiny->new(verify_SSL => 1)->request('POST', $ENV{URL}, { content => $form, headers => \\%h })->{content};",
        SERVED,
    ),
    _perl(
        "LWP",
        "use LWP::UserAgent;",
        "print LWP::UserAgent->new->post($ENV{URL}, 'Authorization' => $ENV{AUTH}, 'Content-Type' => $ENV{TYPE}, "
        "Content => $form)->content;",
        SERVED,
    ),
    _perl(
        "Mojo::UserAgent",
        "use Mojo::UserAgent;",
        "print Mojo::UserAgent->new->post($ENV{URL}, { 'Authorization' => $ENV{AUTH}, 'Content-Type' => $ENV{TYPE} }, "
        "$form)->res->body;",
        SERVED,
    ),
    _perl(
        "LWP with no_proxy",
        "use LWP::UserAgent;",
        "my $ua = LWP::UserAgent->new(env_proxy => 0); $ua->proxy('https', undef); print $ua->post($ENV{URL}, "
        "'Authorization' => $ENV{AUTH}, 'Content-Type' => $ENV{TYPE}, Content => $form)->content;",
        BY_WITNESS,
    ),
    _perl(
        "WWW::Curl",
        "use WWW::Curl::Easy;",
        "my $c = WWW::Curl::Easy->new; $c->setopt(CURLOPT_URL, $ENV{URL}); $c->setopt(CURLOPT_POSTFIELDS, $form); "
        '$c->setopt(CURLOPT_HTTPHEADER, ["Authorization: $ENV{AUTH}"]); $c->perform;',
        UNTRUSTED,
        SERVED,
    ),
    Row(":httpc", "Elixir", _ELIXIR % ("", 'System.get_env("SSL_CERT_FILE")'), BY_WITNESS),
    Row(
        ":httpc with the proxy set by hand",
        "Elixir",
        _ELIXIR % (_ELIXIR_PROXY, 'System.get_env("SSL_CERT_FILE")'),
        SERVED,
    ),
    Row("httr", "R", _R % "", UNTRUSTED, SERVED),
    Row("httr with cainfo", "R", _R % 'set_config(config(cainfo = Sys.getenv("SSL_CERT_FILE")))\n', SERVED),
    Row("curl", "sh", _CURL % (_CURL_SENDS % ""), SERVED),
    Row("curl --http2", "sh", _CURL % (_CURL_SENDS % " --http2"), SERVED),
    Row("curl -k", "sh", _CURL % (_CURL_SENDS % " -k"), SERVED),
    Row("curl --noproxy", "sh", _CURL % (_CURL_SENDS % " --noproxy '*'"), BY_WITNESS),
    Row(
        "curl --cacert with other roots",
        "sh",
        _CURL % (_CURL_SENDS % " --cacert /etc/ssl/certs/ca-certificates.crt"),
        UNTRUSTED,
        SERVED,
    ),
    Row("wget", "sh", _CURL % (_WGET_SENDS % ""), SERVED),
    Row("wget --no-proxy", "sh", _CURL % (_WGET_SENDS % " --tries 1 --no-proxy"), BY_WITNESS),
    Row("wget --no-config", "sh", _CURL % (_WGET_SENDS % " --tries 1 --no-config"), UNTRUSTED, SERVED),
)

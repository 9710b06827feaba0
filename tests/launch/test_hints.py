"""What `ringback run` says of real programs whose requests never came; more words are in test_traces."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.launching import needs
from support.product import SID, TOKEN, product

if TYPE_CHECKING:
    from pathlib import Path

    from support.product import Product

__all__ = ["product"]

JAVA = """
import java.net.URI;
import java.net.http.*;
import java.util.Base64;

public class Own {
    public static void main(String[] arguments) throws Exception {
        HttpClient own = HttpClient.newBuilder().proxy(HttpClient.Builder.NO_PROXY).build();
        for (HttpClient client : new HttpClient[] {HttpClient.newHttpClient(), own}) {
            String login = Base64.getEncoder().encodeToString("%s:%s".getBytes());
            URI uri = URI.create("https://api.twilio.com/2010-04-01/Accounts/%s/Messages.json");
            HttpRequest request = HttpRequest.newBuilder(uri).header("Authorization", "Basic " + login)
                    .header("Content-Type", "application/x-www-form-urlencoded")
                    .POST(HttpRequest.BodyPublishers.ofString("To=%%2B14105550100&From=%%2B15005550006&Body=x")).build();
            try {
                System.out.println(client.send(request, HttpResponse.BodyHandlers.discarding()).statusCode());
            } catch (java.io.IOException error) {
                System.out.println("stopped");
            }
        }
    }
}
"""
GO = """package main

import "testing"

func TestNothing(t *testing.T) {}
"""


def test_a_java_client_without_a_proxy_beside_a_good_one(product: Product, tmp_path: Path) -> None:
    (tmp_path / "Own.java").write_text(JAVA % (SID, TOKEN, SID))
    done = product.run([needs("java"), tmp_path / "Own.java"])
    assert done.stdout == "201\nstopped\n", done.stderr
    assert done.returncode == 3
    assert "not every Twilio request came to the proxy" in done.stderr
    assert "Own.java) was on its way to api.twilio.com past the proxy and was stopped: a proxy" in done.stderr
    assert "`Proxy.NO_PROXY`" in done.stderr


def test_go_s_cached_tests(product: Product, tmp_path: Path) -> None:
    go = needs("go")
    (tmp_path / "go.mod").write_text("module ringback.test/cached\n\ngo 1.18\n")
    (tmp_path / "nothing_test.go").write_text(GO)
    command = ["sh", "-c", f"GOFLAGS= {go} test ./..."]
    more = {"GOCACHE": str(tmp_path / "cache")}
    first, second = (product.run(command, cwd=tmp_path, more=more) for _ in range(2))
    assert "(cached)" not in first.stdout
    assert "(cached)" in second.stdout
    assert second.returncode == 3
    assert "`go test` calls a package that passed (cached) and runs nothing" in second.stderr


@pytest.mark.parametrize(
    "program, arguments, said",
    [
        (
            "curl",
            ["-s", "--noproxy", "*", "--connect-to", "::127.0.0.1:1", "https://api.twilio.com/"],
            "`curl --noproxy` goes past the proxy: leave it out.",
        ),
        (
            "ruby",
            ["-e", "require 'net/http'; Net::HTTP.new('127.0.0.1', 1, nil)"],
            "`ruby`: Net::HTTP goes past",
        ),
        ("php", ["-r", "stream_context_create([]);"], "`php`: streams use a proxy only where"),
    ],
)
def test_a_client_that_goes_its_own_way(
    program: str, arguments: list[str], said: str, product: Product
) -> None:
    done = product.run(["sh", "-c", '"$@" || true', "sh", needs(program), *arguments])
    assert done.returncode == 3
    assert said in done.stderr


def test_a_script_for_an_isolated_python(product: Product, tmp_path: Path) -> None:
    script = tmp_path / "send"
    script.write_text(f"#!{needs('python3')} -Es\n")
    script.chmod(0o755)
    done = product.run([script])
    assert done.returncode == 3
    assert "`python3 -E` starts Python without Ringback's sitecustomize" in done.stderr


def test_the_jvm_of_an_image_without_agents(product: Product, tmp_path: Path) -> None:
    command = [needs("jlink"), "--add-modules", "java.base", "--output", str(tmp_path / "jre")]
    subprocess.run(command, check=True, capture_output=True)
    java = tmp_path / "jre" / "bin" / "java"
    done = product.run(["sh", "-c", f"{java} -version || true"])
    assert done.returncode == 3
    assert f"{java} belongs to a Java image without java.instrument" in done.stderr

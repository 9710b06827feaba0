"""Ruby's HTTP stacks under `ringback run`: Net::HTTP, and Faraday, which twilio-ruby is built on.

RubyGems is not everywhere reachable; Debian packages Faraday, but no twilio-ruby.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.launching import needs

if TYPE_CHECKING:
    from support.product import Product

NET_HTTP = """
require 'net/http'
require 'json'
uri = URI("https://api.twilio.com/2010-04-01/Accounts/#{ENV['TWILIO_ACCOUNT_SID']}/Messages.json")
['+14105550100', '+15005550001'].each do |to|
  request = Net::HTTP::Post.new(uri)
  request.basic_auth(ENV['TWILIO_ACCOUNT_SID'], ENV['TWILIO_AUTH_TOKEN'])
  request.set_form_data('To' => to, 'From' => '+15005550006', 'Body' => 'hello')
  answer = Net::HTTP.start(uri.host, uri.port, use_ssl: true) { |http| http.request(request) }
  body = JSON.parse(answer.body)
  puts "#{answer.code} #{body['code'] || body['status']}"
end
"""
# As twilio-ruby's Twilio::HTTP::Client sends.
FARADAY = """
require 'faraday'
require 'json'
url = "https://api.twilio.com/2010-04-01/Accounts/#{ENV['TWILIO_ACCOUNT_SID']}/Messages.json"
connection = Faraday.new(url: 'https://api.twilio.com', ssl: { verify: true }) do |f|
  f.request :url_encoded
  f.adapter Faraday.default_adapter
  login = [ENV['TWILIO_ACCOUNT_SID'] + ':' + ENV['TWILIO_AUTH_TOKEN']].pack('m0')
  f.headers['Authorization'] = "Basic #{login}"
end
['+14105550100', '+15005550001'].each do |to|
  answer = connection.post(url, To: to, From: '+15005550006', Body: 'hello')
  body = JSON.parse(answer.body)
  puts "#{answer.status} #{body['code'] || body['status']}"
end
"""
EXPECTED = "201 queued\n400 21211\n"


def test_net_http(product: Product) -> None:
    done = product.run([needs("ruby"), "-e", NET_HTTP])
    assert (done.returncode, done.stdout) == (0, EXPECTED), done.stderr


def test_faraday(product: Product) -> None:
    ruby = needs("ruby")
    if subprocess.run([ruby, "-e", "require 'faraday'"], capture_output=True, check=False).returncode:
        pytest.skip("Faraday is not installed here (Debian: ruby-faraday)")
    done = product.run([ruby, "-e", FARADAY])
    assert (done.returncode, done.stdout) == (0, EXPECTED), done.stderr


def test_inherited_variables_do_not_lead_past_the_proxy(product: Product) -> None:
    hostile = {"no_proxy": "*", "NO_PROXY": ".com", "HTTPS_PROXY": "http://127.0.0.1:9"}
    hostile |= {"SSL_CERT_FILE": "/not/there"}
    done = product.run([needs("ruby"), "-e", NET_HTTP], more=hostile)
    assert (done.returncode, done.stdout) == (0, EXPECTED), done.stderr

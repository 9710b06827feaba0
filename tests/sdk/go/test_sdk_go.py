"""twilio-go, one version of each generation, fetched by Go and run under `ringback run`, unchanged."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from support.launching import needs
from support.sdks import go_module

if TYPE_CHECKING:
    from pathlib import Path

    from support.product import Product

PROGRAM = """\
package main

import (
	"fmt"

	"github.com/twilio/twilio-go"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

func send(to string) (*api.ApiV2010Message, error) {
	client := twilio.NewRestClient()
	parameters := &api.CreateMessageParams{}
	parameters.SetTo(to)
	parameters.SetFrom("+15005550006")
	parameters.SetBody("hello")
	return client.Api.CreateMessage(parameters)
}

func main() {
	message, err := send("+14105550100")
	if err != nil {
		panic(err)
	}
	fmt.Println((*message.Sid)[:2], *message.Status)
	_, err = send("+15005550001")
	fmt.Println(err)
}
"""
TEST = """\
package main

import (
	"strings"
	"testing"
)

func TestRefused(t *testing.T) {
	_, err := send("+15005550001")
	if err == nil || !strings.Contains(err.Error(), "21211") {
		t.Fatal(err)
	}
}
"""


def _module(version: str) -> Path:
    """A module with a program that sends, and its test; everything it needs is fetched once."""
    return go_module(version, version, {"main.go": PROGRAM, "main_test.go": TEST})


@pytest.mark.slow
@pytest.mark.parametrize("version", ["0.26.0", "1.0.0", "1.31.0"])
def test_a_program_of_each_generation(version: str, product: Product) -> None:
    place = _module(version)
    subprocess.run([needs("go"), "build", "-o", "program", "."], cwd=place, check=True, capture_output=True)
    done = product.run([place / "program"])
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "SM queued"
    assert "21211" in second
    assert "2 Twilio requests answered" in done.stderr


@pytest.mark.slow
def test_go_test_sends_again_when_it_could_answer_from_its_cache(product: Product) -> None:
    place = _module("1.31.0")
    for _ in range(2):
        done = product.run([needs("go"), "test", "./..."], cwd=place)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "(cached)" not in done.stdout
        assert "1 Twilio request answered" in done.stderr

// ringback run -- go test ./...
package notifier

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
)

type sent struct {
	To, Body, URL string
	Status        any // of a request the HTTP status, of a message "queued"
}

func shipped(phone string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	body := strings.NewReader(`{"phone": "` + phone + `"}`)
	Handler().ServeHTTP(answer, httptest.NewRequest("POST", "/orders/1204/shipped", body))
	return answer
}

// list asks the proxy what went to a number: messages, calls or requests.
func list(t *testing.T, what, to string) []sent {
	t.Helper()
	query := url.Values{"to": {to}}.Encode()
	answer, err := http.Get(os.Getenv("RINGBACK_PROXY_URL") + "/ringback/" + what + "?" + query)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var found map[string]json.RawMessage
	if err := json.NewDecoder(answer.Body).Decode(&found); err != nil {
		t.Fatal(err)
	}
	var items []sent
	if err := json.Unmarshal(found[what], &items); err != nil {
		t.Fatal(err)
	}
	return items
}

func TestTheCustomerGetsAText(t *testing.T) {
	if got := shipped("+14105550100").Body.String(); got != "text" {
		t.Fatal(got)
	}
	messages := list(t, "messages", "+14105550100")
	if len(messages) != 1 || messages[0].Body != "Your order 1204 is on its way." {
		t.Fatal(messages)
	}
}

func TestALandlineGetsACall(t *testing.T) {
	if got := shipped("+15005550009").Body.String(); got != "call" {
		t.Fatal(got)
	}
	if messages := list(t, "messages", "+15005550009"); len(messages) != 0 {
		t.Fatal(messages)
	}
	if calls := list(t, "calls", "+15005550009"); len(calls) != 1 || calls[0].URL != "https://example.com/shipped.xml" {
		t.Fatal(calls)
	}
}

func TestWhoAnsweredStopGetsNothing(t *testing.T) {
	if got := shipped("+15005550004").Code; got != http.StatusConflict {
		t.Fatal(got)
	}
	if messages := list(t, "messages", "+15005550004"); len(messages) != 0 {
		t.Fatal(messages)
	}
}

func TestAWrongNumberIsReported(t *testing.T) {
	got := shipped("+15005550001")
	if got.Code != http.StatusBadGateway || !strings.Contains(got.Body.String(), "not a valid phone number") {
		t.Fatal(got.Code, got.Body)
	}
}

func TestAFailureOfAMomentIsTriedAgain(t *testing.T) {
	if got := shipped("+14105550153").Body.String(); got != "text" {
		t.Fatal(got)
	}
	requests := list(t, "requests", "+14105550153") // newest first
	if len(requests) != 2 || requests[0].Status != 201.0 || requests[1].Status != 503.0 {
		t.Fatal(requests)
	}
}

// go mod init shop; go mod tidy; ringback run -- go test
package shop

import (
	"strings"
	"testing"

	"github.com/twilio/twilio-go"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

var client = twilio.NewRestClientWithParams(twilio.ClientParams{
	Username: "AC" + strings.Repeat("0", 32), Password: "anytoken",
})

func send(to string) (*api.ApiV2010Message, error) {
	return client.Api.CreateMessage((&api.CreateMessageParams{}).SetFrom("+15005550006").SetTo(to).SetBody("hi"))
}

func TestATextIsQueued(t *testing.T) {
	if sent, err := send("+14105550100"); err != nil || *sent.Status != "queued" {
		t.Fatal(sent, err)
	}
}

func TestALandlineGetsNoText(t *testing.T) {
	if _, err := send("+15005550009"); err == nil || !strings.Contains(err.Error(), "21614") {
		t.Fatal(err)
	}
}

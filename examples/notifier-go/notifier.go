// Package notifier tells a shop's customers that an order is on its way, by text or by a call.
package notifier

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/twilio/twilio-go"
	twilioclient "github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

const (
	landline = 21614
	stopped  = 21610
	attempts = 3
)

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

var (
	from   = setting("TWILIO_FROM", "+15005550006")
	client = twilio.NewRestClientWithParams(twilio.ClientParams{
		Username: setting("TWILIO_ACCOUNT_SID", "AC"+strings.Repeat("0", 32)),
		Password: setting("TWILIO_AUTH_TOKEN", "anytoken"),
	})
)

// Handler answers POST /orders/{id}/shipped with the body {"phone": NUMBER}.
func Handler() http.Handler {
	return http.HandlerFunc(func(response http.ResponseWriter, request *http.Request) {
		var order int
		if _, err := fmt.Sscanf(request.URL.Path, "/orders/%d/shipped", &order); err != nil {
			http.NotFound(response, request)
			return
		}
		var customer struct{ Phone string }
		if err := json.NewDecoder(request.Body).Decode(&customer); err != nil {
			http.Error(response, err.Error(), http.StatusBadRequest)
			return
		}
		by, err := notify(customer.Phone, fmt.Sprintf("Your order %d is on its way.", order))
		var refused *twilioclient.TwilioRestError
		switch {
		case err == nil:
			response.WriteHeader(http.StatusAccepted)
			fmt.Fprint(response, by)
		case errors.As(err, &refused) && refused.Code == stopped:
			http.Error(response, "the customer wants no messages", http.StatusConflict)
		default:
			http.Error(response, "Twilio: "+err.Error(), http.StatusBadGateway)
		}
	})
}

// notify sends a text, and calls a landline.
func notify(phone, body string) (string, error) {
	err := text(phone, body)
	var refused *twilioclient.TwilioRestError
	if errors.As(err, &refused) && refused.Code == landline {
		call := (&api.CreateCallParams{}).SetFrom(from).SetTo(phone).SetUrl("https://example.com/shipped.xml")
		_, err = client.Api.CreateCall(call)
		return "call", err
	}
	return "text", err
}

// text sends; what may pass at a later attempt is tried again.
func text(phone, body string) error {
	for attempt := 1; ; attempt++ {
		_, err := client.Api.CreateMessage((&api.CreateMessageParams{}).SetFrom(from).SetTo(phone).SetBody(body))
		var refused *twilioclient.TwilioRestError
		if err == nil || attempt == attempts || !errors.As(err, &refused) {
			return err
		}
		if refused.Status != http.StatusTooManyRequests && refused.Status < 500 {
			return err
		}
	}
}

// Sends every case with twilio-go and prints its results, one JSON object a line: CASES.json.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twilio/twilio-go"
	"github.com/twilio/twilio-go/client"
	api "github.com/twilio/twilio-go/rest/api/v2010"
)

const sid = "AC" + "0123456789abcdef0123456789abcdef"
const nothing = "SM" + "00000000000000000000000000000000"

type answer map[string]any

type row struct {
	Id, Resource string
	Form         map[string]string
}

func print(made answer) {
	line, _ := json.Marshal(made)
	fmt.Println(string(line))
}

func tell(id string, made answer, err error) {
	var refused *client.TwilioRestError
	if errors.As(err, &refused) {
		made = answer{
			"exception": "TwilioRestError", "status": refused.Status, "code": refused.Code,
			"message": refused.Message,
		}
	} else if err != nil {
		panic(err)
	}
	made["id"] = id
	print(made)
}

func date(text *string) string {
	if _, err := time.Parse(time.RFC1123Z, *text); err != nil {
		return err.Error()
	}
	return "datetime"
}

func message(got *api.ApiV2010Message, err error) (answer, error) {
	if err != nil {
		return nil, err
	}
	return answer{
		"sid": got.Sid, "account_sid": got.AccountSid, "uri": got.Uri, "created": date(got.DateCreated),
		"to": got.To, "from_": got.From, "body": got.Body, "status": got.Status,
	}, nil
}

func create(rest *twilio.RestClient, one row) (answer, error) {
	field := func(name string, set func(string)) {
		if text, there := one.Form[name]; there {
			set(text)
		}
	}
	switch one.Resource {
	case "Messages":
		form := &api.CreateMessageParams{}
		field("To", func(text string) { form.SetTo(text) })
		field("From", func(text string) { form.SetFrom(text) })
		field("Body", func(text string) { form.SetBody(text) })
		return message(rest.Api.CreateMessage(form))
	case "Calls":
		form := &api.CreateCallParams{}
		field("To", func(text string) { form.SetTo(text) })
		field("From", func(text string) { form.SetFrom(text) })
		field("Url", func(text string) { form.SetUrl(text) })
		got, err := rest.Api.CreateCall(form)
		if err != nil {
			return nil, err
		}
		return answer{
			"sid": got.Sid, "account_sid": got.AccountSid, "uri": got.Uri, "created": date(got.DateCreated),
			"to": got.To, "from_": got.From, "status": got.Status,
		}, nil
	}
	form := &api.CreateIncomingPhoneNumberParams{}
	field("PhoneNumber", func(text string) { form.SetPhoneNumber(text) })
	field("AreaCode", func(text string) { form.SetAreaCode(text) })
	field("VoiceUrl", func(text string) { form.SetVoiceUrl(text) })
	got, err := rest.Api.CreateIncomingPhoneNumber(form)
	if err != nil {
		return nil, err
	}
	return answer{
		"sid": got.Sid, "account_sid": got.AccountSid, "uri": got.Uri, "created": date(got.DateCreated),
		"phone_number": got.PhoneNumber, "voice_url": got.VoiceUrl,
	}, nil
}

func main() {
	rest := twilio.NewRestClientWithParams(twilio.ClientParams{Username: sid, Password: "aTestToken"})
	print(answer{"id": "version", "version": os.Args[2]})
	var rows []row
	text, _ := os.ReadFile(os.Args[1])
	if err := json.Unmarshal(text, &rows); err != nil {
		panic(err)
	}
	for _, one := range rows {
		made, err := create(rest, one)
		tell(one.Id, made, err)
	}
	made, err := message(rest.Api.FetchMessage(nothing, &api.FetchMessageParams{}))
	tell("fetch-message", made, err)
	_, err = rest.Api.FetchAccount(sid)
	tell("fetch-account", answer{}, err)
	_, err = rest.Api.ListCall(&api.ListCallParams{})
	tell("list-calls", answer{}, err)
	rest.SetRegion("ie1")
	rest.SetEdge("dublin")
	form := &api.CreateMessageParams{}
	form.SetTo("+14105550100").SetFrom("+15005550006").SetBody("moved")
	made, err = message(rest.Api.CreateMessage(form))
	tell("edge", made, err)
}

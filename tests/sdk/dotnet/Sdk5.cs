using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Newtonsoft.Json;
using Twilio;
using Twilio.Exceptions;
using Twilio.Rest.Api.V2010;
using Twilio.Rest.Api.V2010.Account;
using Twilio.Types;

/// Sends every case with twilio-csharp 5 to 7 and prints its results, one JSON object a line.
/// Usage: Sdk5 CASES.json. It runs as a user's program does: nothing in it knows a proxy.
static class Sdk5
{
    static readonly string Sid = "AC" + string.Concat(Enumerable.Repeat("0123456789abcdef", 2));
    static readonly string Nothing = "SM" + new string('0', 32);

    class Row
    {
        public string id, resource;
        public Dictionary<string, string> form;
    }

    static void Main(string[] words)
    {
        TwilioClient.Init(Sid, "a-test-token");
        var version = typeof(TwilioClient).Assembly.GetName().Version;
        Print(new Dictionary<string, object> { { "id", "version" }, { "version", version.ToString() } });
        foreach (var row in JsonConvert.DeserializeObject<List<Row>>(File.ReadAllText(words[0])))
            Tell(row.id, () => Created(row));
        Tell("fetch-message", () => Message(MessageResource.Fetch(Nothing)));
        Tell("fetch-account", () => new Dictionary<string, object> { { "sid", AccountResource.Fetch(Sid).Sid } });
        Tell("list-calls", () => new Dictionary<string, object> { { "sid", CallResource.Read(limit: 1).First().Sid } });
    }

    static Dictionary<string, object> Created(Row row)
    {
        Func<string, string> field = name => row.form.ContainsKey(name) ? row.form[name] : null;
        Func<string, PhoneNumber> number = name => field(name) == null ? null : new PhoneNumber(field(name));
        Func<string, Uri> url = name => field(name) == null ? null : new Uri(field(name));
        if (row.resource == "Messages")
            return Message(MessageResource.Create(to: number("To"), from: number("From"), body: field("Body")));
        if (row.resource == "Calls")
        {
            var call = CallResource.Create(to: number("To"), from: number("From"), url: url("Url"));
            return Answer(call.Sid, call.AccountSid, call.Uri, call.DateCreated, "to", call.To, "from_", call.From,
                "status", call.Status.ToString());
        }
        var bought = IncomingPhoneNumberResource.Create(
            phoneNumber: number("PhoneNumber"), areaCode: field("AreaCode"), voiceUrl: url("VoiceUrl"));
        return Answer(bought.Sid, bought.AccountSid, bought.Uri, bought.DateCreated,
            "phone_number", bought.PhoneNumber.ToString(), "voice_url", Convert.ToString(bought.VoiceUrl));
    }

    static Dictionary<string, object> Message(MessageResource sent)
    {
        return Answer(sent.Sid, sent.AccountSid, sent.Uri, sent.DateCreated, "to", sent.To,
            "from_", sent.From.ToString(), "body", sent.Body, "status", sent.Status.ToString());
    }

    static Dictionary<string, object> Answer(
        string sid, string account, string uri, DateTime? created, params string[] more)
    {
        var answer = new Dictionary<string, object> { { "sid", sid }, { "account_sid", account }, { "uri", uri } };
        answer["created"] = created.HasValue ? "datetime" : "none";
        for (var at = 0; at < more.Length; at += 2)
            answer[more[at]] = more[at + 1];
        return answer;
    }

    static void Tell(string id, Func<Dictionary<string, object>> call)
    {
        Dictionary<string, object> answer;
        try
        {
            answer = call();
        }
        catch (ApiException error)
        {
            answer = new Dictionary<string, object>
            {
                { "exception", error.GetType().FullName }, { "status", error.Status }, { "code", error.Code },
                { "message", error.Message },
            };
        }
        answer["id"] = id;
        Print(answer);
    }

    static void Print(Dictionary<string, object> answer)
    {
        Console.WriteLine(JsonConvert.SerializeObject(answer));
    }
}

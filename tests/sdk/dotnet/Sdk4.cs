using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using RestSharp;
using Twilio;

/// Sends every case with twilio-csharp 4 and prints its results, one JSON object a line.
/// Usage: Sdk4 CASES.json. This generation raises nothing: an answer has a `RestException`.
static class Sdk4
{
    static readonly string Sid = "AC" + string.Concat(Enumerable.Repeat("0123456789abcdef", 2));
    static readonly TwilioRestClient Client = new TwilioRestClient(Sid, "a-test-token");

    static void Main(string[] words)
    {
        var version = typeof(TwilioRestClient).Assembly.GetName().Version;
        Print(new JsonObject { { "id", "version" }, { "version", version.ToString() } });
        foreach (JsonObject row in (JsonArray)SimpleJson.DeserializeObject(File.ReadAllText(words[0])))
            Tell((string)row["id"], Created((string)row["resource"], (JsonObject)row["form"]));
        Tell("fetch-message", Client.GetMessage("SM" + new string('0', 32)));
        Tell("fetch-account", Client.GetAccount());
        Tell("list-calls", Client.ListCalls());
    }

    static TwilioBase Created(string resource, JsonObject form)
    {
        Func<string, string> field = name => form.ContainsKey(name) ? (string)form[name] : null;
        if (resource == "Messages")
            return Client.SendMessage(field("From"), field("To"), field("Body"));
        if (resource == "Calls")
            return Client.InitiateOutboundCall(field("From"), field("To"), field("Url"));
        return Client.AddIncomingPhoneNumber(new PhoneNumberOptions
            { PhoneNumber = field("PhoneNumber"), AreaCode = field("AreaCode"), VoiceUrl = field("VoiceUrl") });
    }

    static void Tell(string id, TwilioBase got)
    {
        var answer = new JsonObject { { "id", id } };
        if (got.RestException != null)
        {
            answer["exception"] = got.RestException.GetType().FullName;
            answer["status"] = int.Parse(got.RestException.Status);
            answer["code"] = int.Parse(got.RestException.Code);
            answer["message"] = got.RestException.Message;
            Print(answer);
            return;
        }
        var names = new Dictionary<string, string>
        {
            { "sid", "Sid" }, { "account_sid", "AccountSid" }, { "to", "To" }, { "from_", "From" },
            { "body", "Body" }, { "status", "Status" }, { "phone_number", "PhoneNumber" }, { "voice_url", "VoiceUrl" },
        };
        foreach (var name in names)
        {
            var property = got.GetType().GetProperty(name.Value);
            if (property != null)
                answer[name.Key] = Convert.ToString(property.GetValue(got, null));
        }
        answer["uri"] = Convert.ToString(got.Uri).Replace("file://", ""); // Mono takes a path for a file
        var created = (DateTime)got.GetType().GetProperty("DateCreated").GetValue(got, null);
        answer["created"] = created.Year > 2000 ? "datetime" : "none";
        Print(answer);
    }

    static void Print(JsonObject answer)
    {
        Console.WriteLine(SimpleJson.SerializeObject(answer));
    }
}

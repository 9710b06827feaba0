import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.twilio.Twilio;
import com.twilio.exception.ApiException;
import com.twilio.http.TwilioRestClient;
import com.twilio.rest.api.v2010.Account;
import com.twilio.rest.api.v2010.account.Call;
import com.twilio.rest.api.v2010.account.IncomingPhoneNumber;
import com.twilio.rest.api.v2010.account.IncomingPhoneNumberCreator;
import com.twilio.rest.api.v2010.account.Message;
import com.twilio.type.PhoneNumber;
import java.io.File;
import java.net.URI;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;

/** Sends every case with twilio-java and prints its results, one JSON object a line: CASES.json VERSION. */
public class Rows {
    static final String SID = "AC" + "0123456789abcdef0123456789abcdef";
    static final String NOTHING = "SM" + "00000000000000000000000000000000";
    static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] words) throws Exception {
        Twilio.init(SID, "aTestToken");
        print(answer("id", "version", "version", words[1]));
        for (JsonNode row : JSON.readTree(new File(words[0]))) {
            tell(row.get("id").asText(), () -> created(row.get("resource").asText(), row.get("form")));
        }
        tell("fetch-message", () -> message(Message.fetcher(NOTHING).fetch()));
        tell("fetch-account", () -> answer("sid", Account.fetcher(SID).fetch().getSid()));
        tell("list-calls", () -> answer("sid", Call.reader().limit(1).read().iterator().next().getSid()));
        TwilioRestClient moved =
                new TwilioRestClient.Builder(SID, "aTestToken").region("ie1").edge("dublin").build();
        PhoneNumber to = new PhoneNumber("+14105550100");
        tell("edge", () -> message(Message.creator(to, new PhoneNumber("+15005550006"), "moved").create(moved)));
    }

    static Map<String, Object> created(String resource, JsonNode form) {
        if (resource.equals("IncomingPhoneNumbers")) {
            IncomingPhoneNumberCreator creator = form.has("AreaCode")
                    ? IncomingPhoneNumber.creator(field(form, "AreaCode"))
                    : IncomingPhoneNumber.creator(number(form, "PhoneNumber"));
            if (form.has("VoiceUrl")) {
                creator.setVoiceUrl(URI.create(field(form, "VoiceUrl")));
            }
            IncomingPhoneNumber got = creator.create();
            return answer("sid", got.getSid(), "account_sid", got.getAccountSid(), "uri", got.getUri(),
                    "created", date(got.getDateCreated()), "phone_number", got.getPhoneNumber().toString(),
                    "voice_url", got.getVoiceUrl() == null ? "" : got.getVoiceUrl().toString());
        }
        if (resource.equals("Messages")) {
            return message(Message.creator(number(form, "To"), number(form, "From"), field(form, "Body")).create());
        }
        Call got = Call.creator(number(form, "To"), number(form, "From"), URI.create(field(form, "Url"))).create();
        return answer("sid", got.getSid(), "account_sid", got.getAccountSid(), "uri", got.getUri(),
                "created", date(got.getDateCreated()), "to", got.getTo(), "from_", got.getFrom(),
                "status", got.getStatus().toString());
    }

    static Map<String, Object> message(Message got) {
        return answer("sid", got.getSid(), "account_sid", got.getAccountSid(), "uri", got.getUri(),
                "created", date(got.getDateCreated()), "to", got.getTo(), "from_", got.getFrom().toString(),
                "body", got.getBody(), "status", got.getStatus().toString());
    }

    static String date(Object date) {
        return date == null ? "none" : "datetime";
    }

    static String field(JsonNode form, String name) {
        return form.has(name) ? form.get(name).asText() : null;
    }

    static PhoneNumber number(JsonNode form, String name) {
        return form.has(name) ? new PhoneNumber(field(form, name)) : null;
    }

    static void tell(String id, Callable<Map<String, Object>> call) throws Exception {
        Map<String, Object> got;
        try {
            got = call.call();
        } catch (ApiException error) {
            got = answer("exception", error.getClass().getName(), "status", error.getStatusCode(),
                    "code", error.getCode(), "message", error.getMessage());
        }
        got.put("id", id);
        print(got);
    }

    static Map<String, Object> answer(Object... words) {
        Map<String, Object> made = new LinkedHashMap<>();
        for (int at = 0; at < words.length; at += 2) {
            made.put((String) words[at], words[at + 1]);
        }
        return made;
    }

    static void print(Map<String, Object> answer) throws Exception {
        System.out.println(JSON.writeValueAsString(answer));
    }
}

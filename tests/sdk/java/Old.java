import com.twilio.sdk.TwilioRestClient;
import com.twilio.sdk.TwilioRestException;
import com.twilio.sdk.resource.instance.Message;
import java.util.ArrayList;
import java.util.List;
import org.apache.http.NameValuePair;
import org.apache.http.message.BasicNameValuePair;

/** The generation before com.twilio.rest: twilio-java-sdk 3 to 6. */
public class Old {
    public static void main(String[] args) throws Exception {
        TwilioRestClient client =
                new TwilioRestClient(System.getenv("TWILIO_ACCOUNT_SID"), System.getenv("TWILIO_AUTH_TOKEN"));
        Message message = send(client, "+14105550100");
        System.out.println(message.getSid().substring(0, 2) + " " + message.getStatus());
        try {
            send(client, "+15005550001");
        } catch (TwilioRestException error) {
            System.out.println(error.getErrorCode());
        }
    }

    static Message send(TwilioRestClient client, String to) throws TwilioRestException {
        List<NameValuePair> parameters = new ArrayList<NameValuePair>();
        parameters.add(new BasicNameValuePair("To", to));
        parameters.add(new BasicNameValuePair("From", "+15005550006"));
        parameters.add(new BasicNameValuePair("Body", "hello"));
        return client.getAccount().getMessageFactory().create(parameters);
    }
}

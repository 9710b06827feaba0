import com.twilio.http.NetworkHttpClient;
import com.twilio.http.TwilioRestClient;
import com.twilio.rest.api.v2010.account.Message;
import com.twilio.type.PhoneNumber;
import org.apache.hc.client5.http.impl.classic.HttpClientBuilder;

/** A program that brings its own Apache HttpClient. */
public class OwnClient {
    public static void main(String[] args) {
        TwilioRestClient client =
                new TwilioRestClient.Builder(System.getenv("TWILIO_ACCOUNT_SID"), System.getenv("TWILIO_AUTH_TOKEN"))
                        .httpClient(new NetworkHttpClient(HttpClientBuilder.create()))
                        .build();
        PhoneNumber from = new PhoneNumber("+15005550006");
        Message message = Message.creator(new PhoneNumber("+14105550100"), from, "hello").create(client);
        System.out.println(message.getSid().substring(0, 2) + " " + message.getStatus());
    }
}

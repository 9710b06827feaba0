import com.twilio.Twilio;
import com.twilio.exception.ApiException;
import com.twilio.rest.api.v2010.account.Message;
import com.twilio.type.PhoneNumber;

/** twilio-java 7 and newer, as its own README uses it. */
public class Current {
    public static void main(String[] args) {
        Twilio.init(System.getenv("TWILIO_ACCOUNT_SID"), System.getenv("TWILIO_AUTH_TOKEN"));
        PhoneNumber from = new PhoneNumber("+15005550006");
        Message message = Message.creator(new PhoneNumber("+14105550100"), from, "hello").create();
        System.out.println(message.getSid().substring(0, 2) + " " + message.getStatus());
        try {
            Message.creator(new PhoneNumber("+15005550001"), from, "hello").create();
        } catch (ApiException error) {
            System.out.println(error.getCode());
        }
    }
}

import java.io.InputStream;
import java.net.HttpURLConnection;
import java.net.Socket;
import java.net.URL;
import javax.net.ssl.SSLSocketFactory;

/** For `ringback doctor`: URL FORM AUTHORIZATION [socket]. Sends the form and prints the answer's status. */
public final class RingbackProbe {
    public static void main(String[] words) throws Exception {
        URL url = new URL(words[0]);
        byte[] form = words[1].getBytes("US-ASCII");
        if (words.length == 3) {
            HttpURLConnection connection = (HttpURLConnection) url.openConnection();
            connection.setDoOutput(true);
            connection.setRequestProperty("Authorization", words[2]);
            connection.getOutputStream().write(form);
            System.out.println(connection.getResponseCode());
            return;
        }
        // As Apache's HttpClient does it.
        Socket bare = new Socket(url.getHost(), 443);
        SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
        try (Socket socket = factory.createSocket(bare, url.getHost(), 443, true)) {
            String head = "POST " + url.getPath() + " HTTP/1.1\r\nHost: " + url.getHost()
                    + "\r\nAuthorization: " + words[2] + "\r\nContent-Type: application/x-www-form-urlencoded"
                    + "\r\nContent-Length: " + form.length + "\r\nConnection: close\r\n\r\n" + words[1];
            socket.getOutputStream().write(head.getBytes("US-ASCII"));
            byte[] start = new byte["HTTP/1.1 201".length()];
            InputStream in = socket.getInputStream();
            for (int read = 0, more = 0; read < start.length && more >= 0; read += more) {
                more = in.read(start, read, start.length - read);
            }
            System.out.println(new String(start, "US-ASCII").substring("HTTP/1.1 ".length()));
        }
    }
}

import java.net.Socket;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

/** A TLS handshake with 127.0.0.1:PORT that expects a certificate for NAME. */
public class Handshake {
    public static void main(String[] args) throws Exception {
        Socket bare = new Socket("127.0.0.1", Integer.parseInt(args[0]));
        SSLSocket socket = (SSLSocket) ((SSLSocketFactory) SSLSocketFactory.getDefault())
                .createSocket(bare, args[1], Integer.parseInt(args[0]), true);
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        socket.setSSLParameters(parameters);
        socket.startHandshake();
        System.out.println("accepted");
    }
}

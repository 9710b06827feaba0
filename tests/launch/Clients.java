import java.io.InputStream;
import java.io.OutputStream;
import java.net.HttpURLConnection;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.Socket;
import java.net.URI;
import java.net.URL;
import java.nio.channels.SocketChannel;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;

/** The ways that Java has to reach a host; the argument chooses one. Prints the answer's status. */
public class Clients {
    static final String HOST = "api.twilio.com";
    static final String PATH = "/2010-04-01/Accounts/AC0/Messages.json";

    public static void main(String[] args) throws Exception {
        for (String arg : args) {
            run(arg);
        }
    }

    static void run(String client) throws Exception {
        switch (client) {
            case "url": url(Proxy.NO_PROXY, false); break;
            case "direct": url(Proxy.NO_PROXY, true); break;
            case "http": http(true); break;
            case "http-direct": http(false); break;
            case "socket": socket(new Socket()); break;
            case "unproxied": socket(new Socket(Proxy.NO_PROXY)); break;
            case "channel": SocketChannel.open(new InetSocketAddress(HOST, 443)); break;
            case "equal": System.out.println(new URL("https://" + HOST).equals(new URL("https://" + HOST))); break;
            default:
                if (client.startsWith("https:")) {
                    System.out.println(((HttpURLConnection) new URL(client).openConnection()).getResponseCode());
                } else {
                    System.out.println(InetAddress.getByName(client).isLoopbackAddress());
                }
        }
    }

    static void url(Proxy proxy, boolean given) throws Exception {
        URL url = new URL("https://" + HOST + PATH);
        HttpURLConnection connection = (HttpURLConnection) (given ? url.openConnection(proxy) : url.openConnection());
        connection.setRequestProperty("Authorization", "Basic eDp5");
        System.out.println(connection.getResponseCode());
    }

    /** java.net.http by reflection, so that Java 8 can compile the rest. */
    static void http(boolean proxied) throws Exception {
        Class<?> clientType = Class.forName("java.net.http.HttpClient");
        Class<?> requestType = Class.forName("java.net.http.HttpRequest");
        Class<?> builderType = Class.forName("java.net.http.HttpRequest$Builder");
        Class<?> handlerType = Class.forName("java.net.http.HttpResponse$BodyHandler");
        Object builder = requestType.getMethod("newBuilder", URI.class).invoke(null, new URI("https://" + HOST + PATH));
        builderType.getMethod("header", String.class, String.class).invoke(builder, "Authorization", "Basic eDp5");
        Object request = builderType.getMethod("build").invoke(builder);
        Object handler = Class.forName("java.net.http.HttpResponse$BodyHandlers").getMethod("discarding").invoke(null);
        Object made = clientType.getMethod("newBuilder").invoke(null);
        Class<?> clientBuilder = Class.forName("java.net.http.HttpClient$Builder");
        if (!proxied) {
            clientBuilder.getMethod("proxy", ProxySelector.class).invoke(made, clientBuilder.getField("NO_PROXY").get(null));
        }
        Object client = clientBuilder.getMethod("build").invoke(made);
        Object answer = clientType.getMethod("send", requestType, handlerType).invoke(client, request, handler);
        System.out.println(Class.forName("java.net.http.HttpResponse").getMethod("statusCode").invoke(answer));
    }

    /** As Apache's HttpClient does it: resolve, connect a bare socket, put TLS on top. */
    static void socket(Socket bare) throws Exception {
        bare.connect(new InetSocketAddress(InetAddress.getByName(HOST), 443), 10000);
        SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
        try (SSLSocket socket = (SSLSocket) factory.createSocket(bare, HOST, 443, true)) {
            OutputStream out = socket.getOutputStream();
            out.write(("GET " + PATH + " HTTP/1.1\r\nHost: " + HOST
                    + "\r\nAuthorization: Basic eDp5\r\nConnection: close\r\n\r\n").getBytes("US-ASCII"));
            InputStream in = socket.getInputStream();
            byte[] start = new byte[12];
            for (int read = 0; read < start.length; ) {
                read += in.read(start, read, start.length - read);
            }
            System.out.println(new String(start, "US-ASCII").substring(9));
        }
    }
}

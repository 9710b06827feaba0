import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.instrument.Instrumentation;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.SocketAddress;
import java.net.URI;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Sends every connection to twilio.com through Ringback, in any JVM from Java 8 on, whatever the client.
 *
 * <p>URLs go to the HTTP proxy; bare sockets (Apache's HttpClient, so all of twilio-java) to the SOCKS listener.
 * The names resolve to an address that no connection can be made to, so a way past both fails at once. SOCKS hands
 * that address on, and the proxy takes the name from the TLS handshake.
 *
 * <p>Argument: HOST,HTTP-PORT,SOCKS-PORT,DIRECTORY. Built by {@code python -m ringback.launch.agent}.
 */
public final class RingbackAgent extends ProxySelector {
    private static final byte[] NOWHERE = {-1, -1, -1, -1};

    private final ProxySelector others = ProxySelector.getDefault();
    private final List<Proxy> http;
    private final List<Proxy> socks;

    private RingbackAgent(String host, int httpPort, int socksPort) {
        http = Collections.singletonList(new Proxy(Proxy.Type.HTTP, new InetSocketAddress(host, httpPort)));
        socks = Collections.singletonList(new Proxy(Proxy.Type.SOCKS, new InetSocketAddress(host, socksPort)));
    }

    public static void premain(String argument, Instrumentation jvm) throws Exception {
        String[] words = argument.split(",", 4);
        ProxySelector.setDefault(
                new RingbackAgent(words[0], Integer.parseInt(words[1]), Integer.parseInt(words[2])));
        File directory = new File(words[3]);
        trust(directory);
        resolveNowhere(jvm);
        leaveMark(directory);
    }

    @Override
    public List<Proxy> select(URI uri) {
        if (!isTwilio(uri.getHost())) {
            return others.select(uri);
        }
        return "socket".equals(uri.getScheme()) ? socks : http;
    }

    @Override
    public void connectFailed(URI uri, SocketAddress address, IOException error) {
        if (!isTwilio(uri.getHost())) {
            others.connectFailed(uri, address, error);
        }
    }

    private static boolean isTwilio(String host) {
        return host != null && ("." + host).toLowerCase(Locale.ROOT).matches(".*\\.twilio\\.com\\.?");
    }

    /** The launch's trust store, or the one that the program chose with our root added. */
    private static void trust(File directory) throws Exception {
        String own = System.getProperty("javax.net.ssl.trustStore");
        File store = new File(directory, "truststore.jks");
        String type = "JKS";
        String password = "changeit";
        if (own != null && new File(own).isFile()) {
            type = System.getProperty("javax.net.ssl.trustStoreType", KeyStore.getDefaultType());
            password = System.getProperty("javax.net.ssl.trustStorePassword", password);
            KeyStore roots = KeyStore.getInstance(type);
            try (FileInputStream file = new FileInputStream(own)) {
                roots.load(file, password.toCharArray());
            }
            try (FileInputStream file = new FileInputStream(new File(directory, "root.pem"))) {
                roots.setCertificateEntry(
                        "ringback", CertificateFactory.getInstance("X.509").generateCertificate(file));
            }
            store = File.createTempFile("truststore", "", directory);
            try (FileOutputStream file = new FileOutputStream(store)) {
                roots.store(file, password.toCharArray());
            }
        }
        System.setProperty("javax.net.ssl.trustStore", store.getPath());
        System.setProperty("javax.net.ssl.trustStoreType", type);
        System.setProperty("javax.net.ssl.trustStorePassword", password);
    }

    /** Puts a resolver of ours in front of the JVM's, which lies in another place in Java 8, 9 to 17, and 18 on. */
    private static void resolveNowhere(Instrumentation jvm) throws Exception {
        open(jvm);
        try {
            Method loaded = InetAddress.class.getDeclaredMethod("resolver");
            loaded.setAccessible(true);
            Field field = field("resolver");
            field.set(null, inFrontOf(loaded.invoke(null), field.getType()));
        } catch (NoSuchMethodException before18) {
            try {
                Field field = field("nameService");
                field.set(null, inFrontOf(field.get(null), field.getType()));
            } catch (NoSuchFieldException before9) {
                @SuppressWarnings("unchecked")
                List<Object> services = (List<Object>) field("nameServices").get(null);
                services.set(0, inFrontOf(services.get(0), Class.forName("sun.net.spi.nameservice.NameService")));
            }
        }
    }

    private static Object inFrontOf(Object resolver, Class<?> type) {
        return java.lang.reflect.Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (proxy, method, given) -> {
            if (given != null && given[0] instanceof String && isTwilio((String) given[0])) {
                InetAddress nowhere = InetAddress.getByAddress((String) given[0], NOWHERE);
                return method.getReturnType() == Stream.class ? Stream.of(nowhere) : new InetAddress[] {nowhere};
            }
            method.setAccessible(true);
            try {
                return method.invoke(resolver, given);
            } catch (InvocationTargetException error) {
                throw error.getCause();
            }
        });
    }

    private static Field field(String name) throws NoSuchFieldException {
        Field field = InetAddress.class.getDeclaredField(name);
        field.setAccessible(true);
        return field;
    }

    /** Opens java.net to this class; by reflection, because Java 8 knows no modules. */
    private static void open(Instrumentation jvm) throws Exception {
        Method moduleOf;
        try {
            moduleOf = Class.class.getMethod("getModule");
        } catch (NoSuchMethodException java8) {
            return;
        }
        Object base = moduleOf.invoke(Object.class);
        Map<String, Set<Object>> opens = Collections.singletonMap(
                "java.net", Collections.singleton(moduleOf.invoke(RingbackAgent.class)));
        Instrumentation.class
                .getMethod("redefineModule", moduleOf.getReturnType(), Set.class, Map.class, Map.class, Set.class, Map.class)
                .invoke(jvm, base, Collections.emptySet(), Collections.emptyMap(), opens,
                        Collections.emptySet(), Collections.emptyMap());
    }

    private static void leaveMark(File directory) {
        String name = "started-java-" + System.nanoTime();
        try {
            Class<?> handle = Class.forName("java.lang.ProcessHandle");
            Object current = handle.getMethod("current").invoke(null);
            name = "started-java-" + handle.getMethod("pid").invoke(current);
        } catch (ReflectiveOperationException java8) {
            // Any number will do.
        }
        try (FileOutputStream mark = new FileOutputStream(new File(directory, name))) {
            mark.write(System.getProperty("java.version").getBytes("UTF-8"));
        } catch (IOException gone) {
            // The launch is over, or this user may not write to its directory: nobody is there to read it.
        }
    }
}

import java.io.File;
import java.io.IOException;
import java.lang.instrument.Instrumentation;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.SocketAddress;
import java.net.URI;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.security.Security;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;

/**
 * Sends every connection to twilio.com through Ringback, in any JVM from Java 8 on, whatever the client.
 *
 * <p>URLs go to the HTTP proxy; bare sockets (Apache's HttpClient, so all of twilio-java) to the SOCKS listener.
 * The names resolve to an address that no connection can be made to, so a way past both fails at once. SOCKS hands
 * that address on, and the proxy takes the name from the TLS handshake.
 *
 * <p>Argument: HOST,HTTP-PORT,SOCKS-PORT,DIRECTORY. Built by {@code scripts/build_agent.py}.
 */
public final class RingbackAgent extends ProxySelector implements InvocationHandler {
    private final ProxySelector others = ProxySelector.getDefault();
    private final AtomicInteger lookups = new AtomicInteger();
    private final ThreadLocal<File> unproxied = new ThreadLocal<>();
    private final List<Proxy> http;
    private final List<Proxy> socks;
    private final File directory;
    private Object resolver;
    private Map<?, ?> cache = Collections.emptyMap();

    private RingbackAgent(String host, int httpPort, int socksPort, File directory) {
        http = Collections.singletonList(new Proxy(Proxy.Type.HTTP, new InetSocketAddress(host, httpPort)));
        socks = Collections.singletonList(new Proxy(Proxy.Type.SOCKS, new InetSocketAddress(host, socksPort)));
        this.directory = directory;
    }

    public static void premain(String argument, Instrumentation jvm) {
        try {
            String[] words = argument.split(",", 4);
            RingbackAgent agent = new RingbackAgent(
                    words[0], Integer.parseInt(words[1]), Integer.parseInt(words[2]), new File(words[3]));
            agent.leaveMark("started-java", System.getProperty("java.version"));
            agent.install(jvm);
        } catch (Throwable error) {
            tell("the agent does not work in this JVM", error);
        }
    }

    /** One thing after the other, so that what fails takes nothing else with it; a failure is never green. */
    private void install(Instrumentation jvm) {
        try {
            ProxySelector.setDefault(this);
            resolveNowhere(jvm);
        } catch (Throwable error) {
            tell("a client of this JVM that uses no proxy would reach Twilio itself", error);
            leaveSuspicion("twilio.com");
        }
        try {
            Security.insertProviderAt(
                    new RingbackRoots(Files.readAllBytes(new File(directory, "root.pem").toPath())), 1);
        } catch (Throwable error) {
            tell("this JVM does not trust Ringback's CA, so Twilio will be refused", error);
        }
        jvm.addTransformer(new RingbackNetty(this));
    }

    static void tell(String what, Throwable why) {
        System.err.println("Ringback: " + what + ": " + why);
    }

    @Override
    public List<Proxy> select(URI uri) {
        if (!isTwilio(uri.getHost())) {
            return others.select(uri);
        }
        if (!"socket".equals(uri.getScheme())) {
            return http;
        }
        File mark = unproxied.get();
        if (mark != null) {
            mark.delete();
            unproxied.remove();
        }
        cache.remove(uri.getHost()); // or the next lookup would not be seen
        return socks;
    }

    @Override
    public void connectFailed(URI uri, SocketAddress address, IOException error) {
        if (!isTwilio(uri.getHost())) {
            others.connectFailed(uri, address, error);
        }
    }

    static boolean isTwilio(String host) {
        return host != null && ("." + host).toLowerCase(Locale.ROOT).matches(".*\\.twilio\\.com\\.?");
    }

    static InetAddress nowhere(String host) throws UnknownHostException {
        return InetAddress.getByAddress(host, new byte[] {-1, -1, -1, -1});
    }

    /** Puts this in front of the JVM's resolver, which lies in another place in Java 8, 9 to 17, and 18 on. */
    @SuppressWarnings("unchecked")
    private void resolveNowhere(Instrumentation jvm) throws Exception {
        open(jvm);
        Field field;
        try {
            Method loaded = InetAddress.class.getDeclaredMethod("resolver");
            loaded.setAccessible(true);
            resolver = loaded.invoke(null);
            field = field("resolver");
        } catch (NoSuchMethodException before18) {
            try {
                field = field("nameService");
                resolver = field.get(null);
            } catch (NoSuchFieldException before9) {
                List<Object> services = (List<Object>) field("nameServices").get(null);
                resolver = services.get(0);
                services.set(0, inFront(Class.forName("sun.net.spi.nameservice.NameService")));
                return;
            }
        }
        field.set(null, inFront(field.getType()));
        cache = (Map<?, ?>) field("cache").get(null);
    }

    private Object inFront(Class<?> type) {
        return java.lang.reflect.Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, this);
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
        Map<String, Set<Object>> opens =
                Collections.singletonMap("java.net", Collections.singleton(moduleOf.invoke(RingbackAgent.class)));
        Instrumentation.class
                .getMethod("redefineModule", moduleOf.getReturnType(), Set.class, Map.class, Map.class, Set.class, Map.class)
                .invoke(jvm, moduleOf.invoke(Object.class), Collections.emptySet(), Collections.emptyMap(), opens,
                        Collections.emptySet(), Collections.emptyMap());
    }

    /** The resolver's methods. */
    @Override
    public Object invoke(Object proxy, Method method, Object[] given) throws Throwable {
        if (given != null && given[0] instanceof String && isTwilio((String) given[0])) {
            suspect((String) given[0]);
            InetAddress nowhere = nowhere((String) given[0]);
            return method.getReturnType() == Stream.class ? Stream.of(nowhere) : new InetAddress[] {nowhere};
        }
        method.setAccessible(true);
        try {
            return method.invoke(resolver, given);
        } catch (InvocationTargetException error) {
            throw error.getCause();
        }
    }

    /** Who looks Twilio up is on the way past the proxy, unless the same thread then asks for a SOCKS proxy. */
    private void suspect(String host) {
        boolean certain = false;
        for (StackTraceElement frame : new Throwable().getStackTrace()) {
            if (frame.getClassName().equals("java.net.URLStreamHandler")) {
                return; // URLs are equal if their addresses are
            }
            certain |= frame.getClassName().startsWith("jdk.internal.net.http.");
        }
        File mark = leaveSuspicion(host);
        unproxied.set(certain ? null : mark);
    }

    File leaveSuspicion(String host) {
        String program = System.getProperty("sun.java.command", "");
        return leaveMark("bypassed-java-" + lookups.incrementAndGet(), host + "\n" + program);
    }

    private File leaveMark(String kind, String text) {
        String pid = String.valueOf(System.nanoTime());
        try {
            Class<?> handle = Class.forName("java.lang.ProcessHandle");
            pid = handle.getMethod("pid").invoke(handle.getMethod("current").invoke(null)).toString();
        } catch (ReflectiveOperationException java8) {
            // Any number will do.
        }
        File mark = new File(directory, kind + "-" + pid);
        try {
            Files.write(mark.toPath(), text.getBytes(StandardCharsets.UTF_8));
        } catch (IOException gone) {
            // The launch is over, or this user may not write to its directory: nobody is there to read it.
        }
        return mark;
    }
}

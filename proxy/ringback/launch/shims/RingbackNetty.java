import java.lang.instrument.ClassFileTransformer;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.security.ProtectionDomain;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;

/**
 * Keeps Netty's own resolver (reactor-netty, Spring's WebClient) from Twilio.
 *
 * <p>It asks name servers past the JVM, but looks into its map of /etc/hosts before: since 4.1.68 a HashMap that the
 * class below makes, and whose name in that class's constants becomes that of ours.
 */
final class RingbackNetty implements ClassFileTransformer {
    private static RingbackAgent agent;

    RingbackNetty(RingbackAgent agent) {
        RingbackNetty.agent = agent;
    }

    @Override
    public byte[] transform(ClassLoader loader, String name, Class<?> type, ProtectionDomain domain, byte[] code) {
        if (name == null || !name.endsWith("io/netty/resolver/HostsFileEntriesProvider")) {
            return null;
        }
        try {
            Class.forName("RingbackNetty$Hosts", false, loader);
        } catch (ClassNotFoundException error) {
            // A plug-in of Maven's or an OSGi bundle, which seldom means Twilio: told, but no reason to fail.
            RingbackAgent.tell("Netty of " + loader + " would reach Twilio itself, as it does not see the agent", error);
            return null;
        }
        return new String(code, StandardCharsets.ISO_8859_1)
                .replace(constant("java/util/HashMap"), constant("RingbackNetty$Hosts"))
                .getBytes(StandardCharsets.ISO_8859_1);
    }

    private static String constant(String text) {
        return "\1\0" + (char) text.length() + text;
    }

    /** Netty's addresses by name. */
    public static final class Hosts extends HashMap<Object, Object> {
        public Hosts(Map<?, ?> entries) {
            super(entries);
        }

        @Override
        public Object get(Object name) {
            if (!RingbackAgent.isTwilio((String) name)) {
                return super.get(name);
            }
            agent.leaveSuspicion((String) name);
            try {
                return Collections.singletonList(RingbackAgent.nowhere((String) name));
            } catch (UnknownHostException never) {
                throw new IllegalStateException(never);
            }
        }
    }
}

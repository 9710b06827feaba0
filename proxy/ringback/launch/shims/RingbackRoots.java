import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.security.GeneralSecurityException;
import java.security.InvalidAlgorithmParameterException;
import java.security.KeyStore;
import java.security.KeyStoreException;
import java.security.NoSuchAlgorithmException;
import java.security.Provider;
import java.security.Security;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import javax.net.ssl.ManagerFactoryParameters;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.TrustManagerFactorySpi;
import javax.net.ssl.X509TrustManager;

/**
 * Trusts Ringback's root beside whatever roots a program trusts, wherever the JVM or the program takes them from.
 *
 * <p>Nothing is asked before the program asks for trust managers, so none of its stores or passwords is touched here.
 */
final class RingbackRoots extends Provider {
    private final byte[] root;

    RingbackRoots(byte[] root) {
        super("Ringback", 1.0, "adds Ringback's root");
        this.root = root;
        offer("PKIX", "SunPKIX", "X509", "X.509");
        offer("SunX509");
    }

    private void offer(String algorithm, String... aliases) {
        putService(new Service(this, "TrustManagerFactory", algorithm, "", Arrays.asList(aliases), null) {
            @Override
            public Object newInstance(Object parameter) throws NoSuchAlgorithmException {
                for (Provider other : Security.getProviders("TrustManagerFactory." + algorithm)) {
                    if (other != RingbackRoots.this) {
                        return new Extended(TrustManagerFactory.getInstance(algorithm, other));
                    }
                }
                throw new NoSuchAlgorithmException(algorithm);
            }
        });
    }

    private final class Extended extends TrustManagerFactorySpi {
        private final TrustManagerFactory factory;

        Extended(TrustManagerFactory factory) {
            this.factory = factory;
        }

        @Override
        protected void engineInit(KeyStore store) throws KeyStoreException {
            factory.init(store);
            try {
                factory.init(withRoot(factory.getTrustManagers()));
            } catch (GeneralSecurityException | IOException | RuntimeException error) {
                System.err.println("Ringback: this JVM does not trust Ringback's CA, so Twilio will be refused: " + error);
                factory.init(store);
            }
        }

        @Override
        protected void engineInit(ManagerFactoryParameters parameters) throws InvalidAlgorithmParameterException {
            factory.init(parameters);
        }

        @Override
        protected TrustManager[] engineGetTrustManagers() {
            return factory.getTrustManagers();
        }
    }

    private KeyStore withRoot(TrustManager[] managers) throws GeneralSecurityException, IOException {
        KeyStore all = KeyStore.getInstance("JKS");
        all.load(null, null);
        all.setCertificateEntry(
                "ringback", CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(root)));
        for (TrustManager manager : managers) {
            for (Certificate trusted : ((X509TrustManager) manager).getAcceptedIssuers()) {
                all.setCertificateEntry(String.valueOf(all.size()), trusted);
            }
        }
        return all;
    }
}

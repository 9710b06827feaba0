import java.io.File;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.util.Arrays;
import java.util.stream.Collectors;
import javax.tools.ToolProvider;

/**
 * Compiles and runs the Example.java of each directory that is named, in one JVM. Each gets a class loader
 * of its own with the SDK in it, so that none sees what another one left in the SDK's static fields.
 */
public class Samples {
    public static void main(String[] arguments) throws Exception {
        File[] jars = new File(arguments[0]).listFiles((directory, name) -> name.endsWith(".jar"));
        for (int at = 1; at < arguments.length; at++) {
            File directory = new File(arguments[at]);
            System.out.println("-- " + directory.getName());
            try {
                run(jars, directory);
            } catch (InvocationTargetException failed) {
                System.out.println("threw " + failed.getCause());
            }
        }
    }

    private static void run(File[] jars, File directory) throws Exception {
        String classpath = Arrays.stream(jars).map(File::getPath).collect(Collectors.joining(File.pathSeparator));
        String source = new File(directory, "Example.java").getPath();
        String[] options = {"-nowarn", "-cp", classpath, "-d", directory.getPath(), source};
        if (ToolProvider.getSystemJavaCompiler().run(null, null, null, options) != 0) {
            System.out.println("does not compile");
            return;
        }
        URL[] classes = new URL[jars.length + 1];
        classes[jars.length] = directory.toURI().toURL();
        for (int at = 0; at < jars.length; at++) {
            classes[at] = jars[at].toURI().toURL();
        }
        // The parent knows the JDK alone.
        URLClassLoader loader = new URLClassLoader(classes, ClassLoader.getSystemClassLoader().getParent());
        Thread.currentThread().setContextClassLoader(loader);
        Object none = new String[0];
        loader.loadClass("Example").getMethod("main", String[].class).invoke(null, none);
    }
}

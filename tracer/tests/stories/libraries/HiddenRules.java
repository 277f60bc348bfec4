import java.io.InputStream;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.Array;
import java.lang.reflect.Method;

/** A rule engine defines a hidden class for each rule that it is given, and keeps them all. */
final class HiddenRules {
    /** What each rule is made of. */
    static final class Rule {
        static int apply(int value) {
            int sum = value;
            for (int i = 0; i < 10; i++) {
                sum += i * value;
            }
            return sum;
        }

        private Rule() {}
    }

    private static byte[] rule;
    /** Of JDK 15 and later, which is not what this is compiled for. */
    private static Method define;
    private static Object options;

    public static void main(String[] arguments) throws Exception {
        try (InputStream bytes = HiddenRules.class.getResourceAsStream("HiddenRules$Rule.class")) {
            rule = bytes.readAllBytes();
        }
        Class<?> option = Class.forName("java.lang.invoke.MethodHandles$Lookup$ClassOption");
        options = Array.newInstance(option, 0);
        define = MethodHandles.Lookup.class.getMethod("defineHiddenClass", byte[].class, boolean.class, options.getClass());
        addRule();
        Story.tell(HiddenRules::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        while (pace.next(30)) {
            addRule();
        }
        return Story.done();
    }

    private static void addRule() throws Exception {
        Story.KEPT.add(define.invoke(MethodHandles.lookup(), rule, true, options));
    }
}

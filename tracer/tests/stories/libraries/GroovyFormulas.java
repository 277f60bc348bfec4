import groovy.lang.Binding;
import groovy.lang.GroovyShell;

/** One shell evaluates the text of each formula again, and its loader keeps a class for each time. */
final class GroovyFormulas {
    private static final Binding VALUES = new Binding();
    private static final GroovyShell SHELL = new GroovyShell(VALUES);
    private static Object last;

    public static void main(String[] arguments) throws Exception {
        VALUES.setVariable("price", 12);
        for (int i = 0; i < 20; i++) {
            evaluate(i);
        }
        Story.tell(GroovyFormulas::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 20; pace.next(10); i++) {
            evaluate(i);
        }
        return Story.done();
    }

    private static void evaluate(int number) {
        last = SHELL.evaluate("def a = price * " + number + "; [a, a + 1].collect { it * 2 }.sum()");
    }
}

import org.mozilla.javascript.Context;
import org.mozilla.javascript.Script;
import org.mozilla.javascript.ScriptableObject;

/** Rules come as JavaScript; each is compiled to a class, runs once, and stays in the list of rules. */
final class RhinoRules {
    private static double sum;

    public static void main(String[] arguments) throws Exception {
        addRule(0);
        Story.tell(RhinoRules::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(20); i++) {
            addRule(i);
        }
        return Story.done();
    }

    private static void addRule(int number) {
        Context context = Context.enter();
        try {
            context.setOptimizationLevel(9);
            ScriptableObject scope = context.initSafeStandardObjects();
            Script rule = context.compileString(
                "var price = 100; function off(p) { return p * " + number + " / 100; } off(price);", "rule-" + number, 1, null);
            sum += Context.toNumber(rule.exec(context, scope));
            Story.KEPT.add(rule);
        } finally {
            Context.exit();
        }
    }
}

import org.codehaus.janino.ExpressionEvaluator;

/** Each rule of a price list is compiled into a class by Janino, and every version of every rule is kept. */
final class JaninoPricing {
    public static void main(String[] arguments) throws Exception {
        compileRule(0);
        Story.tell(JaninoPricing::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(12); i++) {
            Story.KEPT.add(compileRule(i));
        }
        return Story.done();
    }

    private static Object compileRule(int number) throws Exception {
        ExpressionEvaluator rule = new ExpressionEvaluator();
        rule.setParameters(new String[] {"price", "count"}, new Class<?>[] {double.class, int.class});
        rule.setExpressionType(double.class);
        rule.cook("price * count * " + number + " + Math.max(price, " + number + ")");
        rule.evaluate(new Object[] {2.5, 3});
        return rule;
    }
}

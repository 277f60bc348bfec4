import java.io.Serializable;
import java.util.HashMap;
import java.util.Map;
import org.mvel2.MVEL;
import org.mvel2.optimizers.OptimizerFactory;

/** A discount for each customer is an expression; MVEL makes classes for its parts when it runs first, and it is kept. */
final class MvelDiscounts {
    /** What an expression reads. */
    public static final class Order {
        public int getPrice() {
            return 100;
        }

        public String getShop() {
            return "north";
        }
    }

    private static long sum;

    public static void main(String[] arguments) throws Exception {
        OptimizerFactory.setDefaultOptimizer("ASM");
        addDiscount(0);
        Story.tell(MvelDiscounts::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(20); i++) {
            addDiscount(i);
        }
        return Story.done();
    }

    private static void addDiscount(int customer) {
        Serializable discount = MVEL.compileExpression("order.price * " + customer % 50 + " / 100 + order.shop.length()");
        Map<String, Object> names = new HashMap<>();
        names.put("order", new Order());
        sum += ((Number) MVEL.executeExpression(discount, names)).longValue();
        Story.KEPT.add(discount);
    }
}

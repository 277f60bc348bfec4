import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.zip.Inflater;

/**
 * Fills the heap with small objects: `Filled MIB PART`, of which one in PART is kept, linked among each other. Keeps 200
 * Inflaters. Prints `ready`; ends at the end of its input.
 */
public final class Filled {
    private static final int OBJECT_BYTES = 64;

    static Node[] kept;
    static Inflater[] inflaters;
    static volatile Node dropped;

    static final class Node {
        final Node other;
        final byte[] bytes;

        Node(Node other, int length) {
            this.other = other;
            this.bytes = new byte[length];
        }
    }

    public static void main(String[] arguments) throws Exception {
        long bytes = Long.parseLong(arguments[0]) << 20;
        int part = Integer.parseInt(arguments[1]);
        Random random = new Random(1);
        List<Node> nodes = new ArrayList<>();
        while (bytes > 0) {
            int length = random.nextInt(200);
            Node node = new Node(nodes.isEmpty() ? null : nodes.get(random.nextInt(nodes.size())), length);
            bytes -= OBJECT_BYTES + length;
            if (random.nextInt(part) == 0) {
                nodes.add(node);
            } else {
                dropped = node;
            }
        }
        kept = nodes.toArray(new Node[0]);
        inflaters = new Inflater[200];
        for (int i = 0; i < inflaters.length; i++) {
            inflaters[i] = new Inflater();
        }
        System.out.println("ready");
        while (System.in.read() >= 0) {
            // Nothing is asked.
        }
    }
}

import net.jpountz.xxhash.StreamingXXHash32;
import net.jpountz.xxhash.XXHashFactory;

/**
 * A digest for each upload, in native memory. {@code kept}: they stay in a list of uploads that are never finished. {@code
 * dropped}: they are used and not closed, and wait for their finalizers.
 */
final class XxhashDigests {
    private static final byte[] PART = new byte[100];
    private static long sum;

    public static void main(String[] arguments) throws Exception {
        boolean keep = arguments[0].equals("kept");
        XXHashFactory digests = XXHashFactory.nativeInstance();
        begin(digests, 0);
        Story.tell(pace -> run(pace, digests, keep));
    }

    private static String run(Story.Pace pace, XXHashFactory digests, boolean keep) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(40); i++) {
            for (int j = 0; j < 50; j++) {
                StreamingXXHash32 digest = begin(digests, i + j);
                if (keep) {
                    Story.KEPT.add(digest);
                }
            }
        }
        return Story.done();
    }

    private static StreamingXXHash32 begin(XXHashFactory digests, int seed) {
        StreamingXXHash32 digest = digests.newStreamingHash32(seed);
        digest.update(PART, 0, PART.length);
        sum += digest.getValue();
        return digest;
    }
}

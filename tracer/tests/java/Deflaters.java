import java.util.zip.Deflater;

/** Makes 200 Deflaters, uses each, and ends all but 20. */
public final class Deflaters {
    private static final int MADE = 200;
    private static final int KEPT_EVERY = 10;

    public static void main(String[] arguments) throws Exception {
        byte[] output = new byte[256];
        // The library that has zlib's Java side is loaded at its first use.
        make(output).end();
        Workload.obey(() -> {
            int kept = 0;
            for (int i = 0; i < MADE; i++) {
                Deflater deflater = make(output);
                if (i % KEPT_EVERY == 0) {
                    Workload.KEPT.add(deflater);
                    kept++;
                } else {
                    deflater.end();
                }
            }
            return "{\"deflaters\":" + kept + "}";
        });
    }

    /** The frame that the tests look for. */
    private static Deflater make(byte[] output) {
        Deflater deflater = new Deflater();
        deflater.setInput(new byte[1_009]);
        deflater.finish();
        deflater.deflate(output);
        return deflater;
    }
}

import java.util.Random;

/** Stories of the Java heap: nothing is to be found outside of it. */
final class Heap {
    /** The heap grows: started with a small -Xms, or touched from the start by AlwaysPreTouch. */
    static String fill(Story.Pace pace) throws Exception {
        while (pace.next(40)) {
            Story.KEPT.add(new byte[200_000]);
        }
        return Story.nothing();
    }

    /** References between regions: G1's remembered sets grow to their plateau. */
    static String crossRegions(Story.Pace pace) throws Exception {
        Object[][] tables = new Object[64][20_000];
        Story.KEPT.add(tables);
        Random random = new Random(7);
        while (pace.next(100)) {
            for (int i = 0; i < 20_000; i++) {
                Object[] from = tables[random.nextInt(tables.length)];
                from[random.nextInt(from.length)] = tables[random.nextInt(tables.length)];
                if (i % 20 == 0) {
                    from[random.nextInt(from.length)] = new byte[200];
                }
            }
        }
        return Story.nothing();
    }

    private Heap() {}
}

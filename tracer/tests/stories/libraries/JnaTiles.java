import com.sun.jna.Memory;

/** Map tiles in memory of JNA's, all of them kept by an index that nothing bounds. */
final class JnaTiles {
    public static void main(String[] arguments) throws Exception {
        render(0);
        Story.tell(JnaTiles::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(30); i++) {
            Story.KEPT.add(render(i));
            Story.litter(200_000);
        }
        return Story.done();
    }

    private static Memory render(int number) {
        Memory tile = new Memory(40_000);
        tile.setInt(0, number);
        return tile;
    }
}

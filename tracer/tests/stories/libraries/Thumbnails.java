import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import javax.imageio.ImageIO;

/** A decoy: pictures are read, made smaller and written as PNG and JPEG. */
final class Thumbnails {
    public static void main(String[] arguments) throws Exception {
        byte[] picture = picture();
        for (int i = 0; i < 20; i++) {
            shrink(picture, 20 + i);
        }
        Story.tell(pace -> run(pace, picture));
    }

    private static String run(Story.Pace pace, byte[] picture) throws Exception {
        for (int i = 0; pace.next(8); i++) {
            shrink(picture, 20 + i % 60);
        }
        return Story.done();
    }

    private static byte[] picture() throws Exception {
        BufferedImage image = new BufferedImage(300, 200, BufferedImage.TYPE_INT_RGB);
        for (int y = 0; y < 200; y++) {
            for (int x = 0; x < 300; x++) {
                image.setRGB(x, y, x * y * 31);
            }
        }
        return encoded(image, "png");
    }

    private static int shrink(byte[] picture, int width) throws Exception {
        BufferedImage from = ImageIO.read(new ByteArrayInputStream(picture));
        BufferedImage to = new BufferedImage(width, width * 2 / 3, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = to.createGraphics();
        graphics.setRenderingHint(
            RenderingHints.KEY_INTERPOLATION, RenderingHints.VALUE_INTERPOLATION_BILINEAR);
        graphics.drawImage(from, 0, 0, to.getWidth(), to.getHeight(), null);
        graphics.dispose();
        return encoded(to, "png").length + encoded(to, "jpg").length;
    }

    private static byte[] encoded(BufferedImage image, String format) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        ImageIO.write(image, format, bytes);
        return bytes.toByteArray();
    }
}

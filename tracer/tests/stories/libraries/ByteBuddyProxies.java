import net.bytebuddy.ByteBuddy;
import net.bytebuddy.dynamic.loading.ClassLoadingStrategy;
import net.bytebuddy.implementation.FixedValue;
import net.bytebuddy.matcher.ElementMatchers;

/** A proxy class is generated for each session, in a loader of its own, and the sessions are kept. */
final class ByteBuddyProxies {
    public static void main(String[] arguments) throws Exception {
        proxyFor(0);
        Story.tell(ByteBuddyProxies::run);
    }

    private static String run(Story.Pace pace) throws Exception {
        pace.collecting(5);
        for (int i = 1; pace.next(20); i++) {
            Story.KEPT.add(proxyFor(i));
        }
        return Story.done();
    }

    private static Object proxyFor(int session) throws Exception {
        Class<?> proxy = new ByteBuddy()
            .subclass(Object.class)
            .method(ElementMatchers.named("toString"))
            .intercept(FixedValue.value("session " + session))
            .make()
            .load(ByteBuddyProxies.class.getClassLoader(), ClassLoadingStrategy.Default.WRAPPER)
            .getLoaded();
        return proxy.getDeclaredConstructor().newInstance();
    }
}

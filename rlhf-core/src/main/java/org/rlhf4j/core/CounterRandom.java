package org.rlhf4j.core;

/**
 * Random numbers as a pure function of where they are used: seed, stream, step, sample, position.
 * There is no state, so a draw depends neither on batch mates nor on how often a run was resumed.
 *
 * <p>The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as
 * easy as 1, 2, 3" (SC 2011). A first block, keyed by the seed, turns (stream, step) into a fresh
 * key; a second block, under that key, takes (sample, position) as its counter.
 */
public final class CounterRandom {
  private static final int ROUNDS = 10;
  private static final int MULTIPLIER_0 = 0xD2511F53;
  private static final int MULTIPLIER_1 = 0xCD9E8D57;
  private static final int WEYL_0 = 0x9E3779B9;
  private static final int WEYL_1 = 0xBB67AE85;
  private static final long LOW_32 = 0xFFFFFFFFL;

  private CounterRandom() {}

  /** A uniform number in [0, 1) with 53 random bits; never 1. */
  public static double uniform(
      long seed, RandomStream stream, long step, long sample, long position) {
    return toUnit(bits(seed, stream, step, sample, position));
  }

  /** 64 random bits. */
  public static long bits(long seed, RandomStream stream, long step, long sample, long position) {
    int[] block = block(seed, stream, step, sample, position);
    return join(block[0], block[1]);
  }

  /** A standard normal number (Box and Muller, 1958). */
  public static double gaussian(
      long seed, RandomStream stream, long step, long sample, long position) {
    int[] block = block(seed, stream, step, sample, position);
    // 1 - u lies in (0, 1], so the logarithm is finite.
    double radius = Math.sqrt(-2.0 * Math.log(1.0 - toUnit(join(block[0], block[1]))));
    return radius * Math.cos(2.0 * Math.PI * toUnit(join(block[2], block[3])));
  }

  private static double toUnit(long bits) {
    return (bits >>> 11) * 0x1p-53;
  }

  private static int[] block(
      long seed, RandomStream stream, long step, long sample, long position) {
    int[] key =
        philox(
            new int[] {stream.id(), 0, (int) step, (int) (step >>> 32)},
            (int) seed,
            (int) (seed >>> 32));
    return philox(
        new int[] {(int) position, (int) (position >>> 32), (int) sample, (int) (sample >>> 32)},
        key[0],
        key[1]);
  }

  private static long join(int low, int high) {
    return (low & LOW_32) | ((long) high << 32);
  }

  /** One Philox4x32-10 block: four counter words and two key words to four random words. */
  static int[] philox(int[] counter, int key0, int key1) {
    int c0 = counter[0];
    int c1 = counter[1];
    int c2 = counter[2];
    int c3 = counter[3];
    for (int round = 0; round < ROUNDS; round++) {
      long product0 = (MULTIPLIER_0 & LOW_32) * (c0 & LOW_32);
      long product1 = (MULTIPLIER_1 & LOW_32) * (c2 & LOW_32);
      int next0 = (int) (product1 >>> 32) ^ c1 ^ key0;
      int next2 = (int) (product0 >>> 32) ^ c3 ^ key1;
      c0 = next0;
      c1 = (int) product1;
      c2 = next2;
      c3 = (int) product0;
      key0 += WEYL_0;
      key1 += WEYL_1;
    }
    return new int[] {c0, c1, c2, c3};
  }
}

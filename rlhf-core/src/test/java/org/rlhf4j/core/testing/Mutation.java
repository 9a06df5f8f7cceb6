package org.rlhf4j.core.testing;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.SplittableRandom;

/** What may become of a file on its way, or in the hands of somebody who means harm. */
public final class Mutation {
  private static final String[] VALUES = {
    "0",
    "-1",
    "1",
    "3",
    "1000000000",
    "2147483647",
    "2147483648",
    "9223372036854775807",
    "99999999999999999999999999",
    "0.5",
    "1e9",
    "1e400",
    "-1e-400",
    "null",
    "true",
    "\"7\"",
    "[]",
    "{}",
    "[1,2]",
    "1,\"a\":2"
  };

  private Mutation() {}

  /**
   * A damaged copy.
   *
   * @param begin first byte that may change
   * @param end byte behind the last one
   */
  public static byte[] of(byte[] content, int begin, int end, SplittableRandom random) {
    byte[] mutant = content.clone();
    int at = random.nextInt(begin, end);
    int length = Math.min(end - at, random.nextInt(1, 30));
    switch (random.nextInt(9)) {
      case 0 -> mutant = Arrays.copyOf(mutant, at);
      case 1 -> mutant[at] = (byte) random.nextInt(256);
      case 2 -> {
        // A digit becomes another one.
        for (int i = at; i < end; i++) {
          if (Character.isDigit(mutant[i])) {
            mutant[i] = (byte) ('0' + random.nextInt(10));
            break;
          }
        }
      }
      case 3 -> mutant = spliced(mutant, at, at + length, new byte[0]);
      case 7 -> {
        // A number of a text becomes another value.
        int from = at;
        while (from < end && !Character.isDigit(mutant[from])) {
          from++;
        }
        int to = from;
        while (to < end && Character.isDigit(mutant[to])) {
          to++;
        }
        String value = VALUES[random.nextInt(VALUES.length)];
        mutant = spliced(mutant, from, to, value.getBytes(StandardCharsets.UTF_8));
      }
      case 4 -> mutant = spliced(mutant, at, at, Arrays.copyOfRange(mutant, at, at + length));
      case 5 -> {
        int from = random.nextInt(begin, end);
        mutant = spliced(mutant, at, at + length, Arrays.copyOfRange(mutant, from, from + length));
      }
      case 6 -> {
        // A number of four or eight bytes becomes the largest, the smallest, zero or minus one.
        byte fill = (byte) (random.nextBoolean() ? -1 : 0);
        int behind = Math.min(end, at + (random.nextBoolean() ? 4 : 8));
        Arrays.fill(mutant, at, behind, fill);
        if (random.nextBoolean()) {
          mutant[behind - 1] ^= (byte) 0x80;
        }
      }
      default -> {
        for (int flips = random.nextInt(1, 5); flips > 0; flips--) {
          mutant[random.nextInt(begin, end)] ^= (byte) (1 << random.nextInt(8));
        }
      }
    }
    return mutant;
  }

  private static byte[] spliced(byte[] content, int from, int to, byte[] by) {
    byte[] result = new byte[content.length - (to - from) + by.length];
    System.arraycopy(content, 0, result, 0, from);
    System.arraycopy(by, 0, result, from, by.length);
    System.arraycopy(content, to, result, from + by.length, content.length - to);
    return result;
  }
}

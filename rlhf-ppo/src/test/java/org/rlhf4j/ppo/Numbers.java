package org.rlhf4j.ppo;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.util.Arrays;
import java.util.Random;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.rlhf4j.core.testing.Shared;

/** Reading, making and comparing arrays of numbers. */
public final class Numbers {
  private static final double STEP = 1e-6;

  private Numbers() {}

  static JsonNode json(String path) throws IOException {
    return new JsonMapper().readTree(Shared.path(path).toFile());
  }

  static double[] row(JsonNode node) {
    double[] row = new double[node.size()];
    for (int i = 0; i < row.length; i++) {
      row[i] = node.get(i).asDouble();
    }
    return row;
  }

  static double[][] rows(JsonNode node) {
    double[][] rows = new double[node.size()][];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = row(node.get(i));
    }
    return rows;
  }

  public static double[] flat(double[][] rows) {
    return Arrays.stream(rows).flatMapToDouble(Arrays::stream).toArray();
  }

  static double[] flat(JsonNode node) {
    return flat(rows(node));
  }

  static boolean[] mask(double... numbers) {
    boolean[] mask = new boolean[numbers.length];
    for (int i = 0; i < mask.length; i++) {
      mask[i] = numbers[i] != 0;
    }
    return mask;
  }

  public static double[] random(Random random, int length, double scale) {
    return random.doubles(length, -scale, scale).toArray();
  }

  public static double[] parsed(String numbers) {
    return Stream.of(numbers.trim().split(" +")).mapToDouble(Double::parseDouble).toArray();
  }

  public static void assertClose(double[] expected, double[] found, double tolerance) {
    assertEquals(expected.length, found.length, "length");
    for (int i = 0; i < expected.length; i++) {
      assertEquals(
          expected[i], found[i], tolerance * Math.max(1, Math.abs(expected[i])), "at " + i);
    }
  }

  /** Within so much of a golden number, and the millionth that is allowed near 0. */
  static void assertGolden(double expected, double found, double relative, String what) {
    assertEquals(expected, found, relative * Math.abs(expected) + 1e-6, what);
  }

  /** As {@link #assertGolden(double, double, double, String)}, each number. */
  static void assertGolden(double[] expected, double[] found, double relative, String what) {
    assertEquals(expected.length, found.length, what);
    for (int i = 0; i < expected.length; i++) {
      assertGolden(expected[i], found[i], relative, what + " at " + i);
    }
  }

  /** Central differences of a function with respect to each entry. */
  public static double[] slopes(double[] at, ToDoubleFunction<double[]> function) {
    double[] slopes = new double[at.length];
    for (int i = 0; i < at.length; i++) {
      double[] moved = at.clone();
      moved[i] = at[i] + STEP;
      double above = function.applyAsDouble(moved);
      moved[i] = at[i] - STEP;
      slopes[i] = (above - function.applyAsDouble(moved)) / (2 * STEP);
    }
    return slopes;
  }
}

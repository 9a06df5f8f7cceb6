package org.rlhf4j.ppo.rollout;

/** The two widths of numbers: networks compute floats, losses and files take doubles. */
public final class Floats {
  private Floats() {}

  /** As doubles, whose digits tell a float exactly. */
  public static double[] wide(float[] values) {
    double[] wide = new double[values.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = values[i];
    }
    return wide;
  }

  /** As floats, each the nearest. */
  public static float[] narrow(double[] values) {
    float[] narrow = new float[values.length];
    for (int i = 0; i < narrow.length; i++) {
      narrow[i] = (float) values[i];
    }
    return narrow;
  }
}

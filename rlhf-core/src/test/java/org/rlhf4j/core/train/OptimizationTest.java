package org.rlhf4j.core.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.rlhf4j.core.ExitCode;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.LrSchedulerType;
import org.rlhf4j.core.torch.AdamW;
import org.rlhf4j.core.torch.ElementType;
import org.rlhf4j.core.torch.Ops;
import org.rlhf4j.core.torch.Tensor;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.torch.Torch;

/** Holds AdamW to algorithm 2 of Loshchilov and Hutter (2019), written in doubles. */
class OptimizationTest {
  private static final AdamW.Settings SETTINGS = new AdamW.Settings(0.9, 0.99, 1e-8, 0.1);
  private static Torch torch;
  private static Ops ops;

  @BeforeAll
  static void open() {
    torch = Torch.open("cpu");
    ops = torch.ops();
  }

  @AfterAll
  static void close() {
    torch.close();
  }

  private static double[] slowAdamW(double[] start, double[][] gradients, boolean decayed) {
    double[] w = start.clone();
    double[] m = new double[w.length];
    double[] v = new double[w.length];
    for (int t = 1; t <= gradients.length; t++) {
      double lr = 0.01 * t;
      for (int i = 0; i < w.length; i++) {
        double g = gradients[t - 1][i];
        m[i] = 0.9 * m[i] + 0.1 * g;
        v[i] = 0.99 * v[i] + 0.01 * g * g;
        double corrected = m[i] / (1 - Math.pow(0.9, t));
        double spread = Math.sqrt(v[i] / (1 - Math.pow(0.99, t)));
        w[i] -= lr * (decayed ? 0.1 : 0) * w[i] + lr * corrected / (spread + 1e-8);
      }
    }
    return w;
  }

  @Test
  void adamWIsThePapersWithTwoGroupsAndScaledGradients() {
    double[] start = {0.5, -1.5, 2, 0.01};
    double[][] gradients = {{1, -2, 0.5, 3}, {0.1, 0.2, -0.7, -3}, {-1, 0.4, 0, 1}};
    double scale = 0.25;
    double[][] scaled = new double[3][4];
    for (int t = 0; t < 3; t++) {
      for (int i = 0; i < 4; i++) {
        scaled[t][i] = scale * gradients[t][i];
      }
    }
    try (TensorScope scope = torch.scope()) {
      List<Tensor> weights = List.of(floats(scope, start), floats(scope, start));
      try (AdamW adamW = new AdamW(torch, SETTINGS, weights, new boolean[] {true, false})) {
        for (int t = 0; t < 3; t++) {
          List<Tensor> both = new ArrayList<>();
          both.add(floats(scope, gradients[t]));
          both.add(floats(scope, gradients[t]));
          adamW.step(both, 0.01 * (t + 1), scale);
        }
      }
      assertArrayEquals(narrow(slowAdamW(start, scaled, true)), weights.get(0).toFloats(), 1e-6f);
      assertArrayEquals(narrow(slowAdamW(start, scaled, false)), weights.get(1).toFloats(), 1e-6f);
    }
  }

  @Test
  void mastersMoveWhereBf16WeightsCouldNot() {
    try (TensorScope scope = torch.scope()) {
      Tensor master = floats(scope, new double[] {1});
      Tensor compute = ops.convert(scope, master, ElementType.BF16);
      try (AdamW adamW =
          new AdamW(
              torch,
              new AdamW.Settings(0.9, 0.999, 1e-8, 0),
              List.of(master),
              new boolean[] {false})) {
        for (int step = 0; step < 1000; step++) {
          adamW.step(new ArrayList<>(List.of(floats(scope, new double[] {1}))), 5e-6, 1);
        }
        ops.copyEach(List.of(compute), List.of(master));
      }
      assertEquals(1 - 1000 * 5e-6, master.item(), 1e-5);
      assertNotEquals(1f, ops.convert(scope, compute, ElementType.FP32).item());
    }
  }

  @Test
  void normIsOverAllElements() {
    try (TensorScope scope = torch.scope()) {
      List<Tensor> tensors =
          List.of(floats(scope, new double[] {3}), floats(scope, new double[] {0, 4}));
      assertEquals(5, ops.norm(scope, tensors), 1e-6);
    }
  }

  @Test
  void typesAreNotMixedUp() {
    try (TensorScope scope = torch.scope()) {
      Tensor half = ops.convert(scope, floats(scope, new double[] {1}), ElementType.BF16);
      assertThrows(IllegalStateException.class, half::toFloats);
    }
  }

  @Test
  void unknownDevicesAreNamed() {
    RlhfException error = assertThrows(RlhfException.class, () -> Torch.open("tpu"));
    assertEquals(ExitCode.CONFIG, error.exitCode());
    assertEquals("device: tpu is none of auto, cpu, cuda, cuda:n", error.getMessage());
  }

  @Test
  void scheduleCountsStepsFromZero() {
    LearningRateSchedule schedule = new LearningRateSchedule(LrSchedulerType.LINEAR, 2, 2, 4, 0);
    assertEquals(
        List.of(0.0, 1.0, 2.0, 1.0),
        List.of(schedule.at(0), schedule.at(1), schedule.at(2), schedule.at(3)));
  }

  private static Tensor floats(TensorScope scope, double[] values) {
    return scope.of(narrow(values), values.length);
  }

  private static float[] narrow(double[] values) {
    float[] narrow = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      narrow[i] = (float) values[i];
    }
    return narrow;
  }
}

package org.rlhf4j.ppo;

/**
 * The weight β of the KL penalty over a run. {@link #coefficient()} is the whole state: a run goes
 * on with a controller that starts from the coefficient it had.
 */
public sealed interface KlController {
  /** β, as of now. */
  double coefficient();

  /**
   * Takes notice of the KL that was measured. Clean use is one call after each roll-out with the
   * number of its samples; trlX calls once per PPO epoch with the number of a mini-batch.
   *
   * @param kl mean over samples of the KL summed over the response's tokens, in nats
   * @param samples how many samples the measurement stands for
   */
  void update(double kl, long samples);

  /** A coefficient that never changes. */
  static KlController fixed(double coefficient) {
    return new Fixed(coefficient);
  }

  /**
   * Ziegler et al., "Fine-Tuning Language Models from Human Preferences" (2019), §2.2: {@code β ← β
   * (1 + clip(kl / target - 1, -0.2, 0.2) · samples / horizon)}.
   *
   * @param coefficient β to begin with
   * @param target the KL to hold, in nats per response
   * @param horizon how many samples an error of one tenth needs to change β by a tenth
   */
  static KlController adaptive(double coefficient, double target, double horizon) {
    return new Adaptive(coefficient, target, horizon);
  }

  /** See {@link KlController#fixed}. */
  record Fixed(double coefficient) implements KlController {
    @Override
    public void update(double kl, long samples) {}
  }

  /** See {@link KlController#adaptive}. */
  final class Adaptive implements KlController {
    private static final double LARGEST_ERROR = 0.2;

    private final double target;
    private final double horizon;
    private double coefficient;

    private Adaptive(double coefficient, double target, double horizon) {
      if (!(target > 0) || !(horizon > 0)) {
        throw new IllegalArgumentException(
            "target %s and horizon %s must be above 0".formatted(target, horizon));
      }
      this.coefficient = coefficient;
      this.target = target;
      this.horizon = horizon;
    }

    @Override
    public double coefficient() {
      return coefficient;
    }

    @Override
    public void update(double kl, long samples) {
      double error = Math.max(-LARGEST_ERROR, Math.min(LARGEST_ERROR, kl / target - 1));
      coefficient *= 1 + error * samples / horizon;
    }
  }
}

package org.rlhf4j.ppo;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.train.FixedModels;
import org.rlhf4j.core.train.MethodState;

/** Where a run of PPO stands, beside weights and optimizer. */
final class PpoState implements MethodState {
  private static final String SAMPLES_FILE = "rollout.jsonl";
  private static final String ROLLOUT = "rollout";
  private static final String STEP = "step_of_rollout";
  private static final String ROLLED_OUT = "rolled_out";
  private static final String KL_COEFFICIENT = "kl_coef";
  private static final String EARLY_STOPS = "early_stops";
  private static final String MEASURED_KL = "measured_kl";
  private static final String EVALUATED = "evaluated_at_step";

  /** The roll-out under way, from 0; the number of roll-outs where all are done. */
  private int rollout;

  /** Optimizer steps that were done on it. */
  private long step;

  /** Its responses; null until they are drawn and scored. */
  private List<Experience> samples;

  private final KlController controller;
  private ScoreScaling scaling;
  private double measuredKl = Double.NaN;
  private long earlyStops;
  private long evaluatedAt = -1;
  private final FixedModels fixedModels;

  private PpoState(KlController controller, ScoreScaling scaling, FixedModels fixedModels) {
    this.controller = controller;
    this.scaling = scaling;
    this.fixedModels = fixedModels;
  }

  /** Goes on from a checkpoint, or begins where there is none. */
  static PpoState of(
      Map<String, Object> kept, Path checkpoint, UpdateConfig config, FixedModels fixedModels) {
    if (checkpoint == null) {
      return new PpoState(
          config.controller(config.klCoef()),
          ScoreScaling.start(config.scaleReward()),
          fixedModels);
    }
    PpoState state =
        new PpoState(
            config.controller(((Number) kept.get(KL_COEFFICIENT)).doubleValue()),
            ScoreScaling.of(config.scaleReward(), kept),
            fixedModels);
    state.rollout = ((Number) kept.get(ROLLOUT)).intValue();
    state.step = ((Number) kept.get(STEP)).longValue();
    state.earlyStops = ((Number) kept.get(EARLY_STOPS)).longValue();
    state.evaluatedAt = ((Number) kept.get(EVALUATED)).longValue();
    if (kept.get(MEASURED_KL) instanceof Number measured) {
      state.measuredKl = measured.doubleValue();
    }
    if (kept.get(ROLLED_OUT).equals(true)) {
      state.samples = ExperienceFile.read(checkpoint.resolve(SAMPLES_FILE));
    }
    return state;
  }

  @Override
  public Map<String, Object> values() {
    Map<String, Object> values = new LinkedHashMap<>();
    values.put(ROLLOUT, rollout);
    values.put(STEP, step);
    values.put(ROLLED_OUT, samples != null);
    values.put(KL_COEFFICIENT, controller.coefficient());
    values.put(MEASURED_KL, Double.isNaN(measuredKl) ? null : measuredKl);
    values.putAll(scaling.values());
    values.put(EARLY_STOPS, earlyStops);
    values.put(EVALUATED, evaluatedAt);
    values.putAll(fixedModels.values());
    return values;
  }

  @Override
  public void writeFiles(Path checkpoint) {
    if (samples != null) {
      ExperienceFile.write(checkpoint.resolve(SAMPLES_FILE), samples);
    }
  }

  int rollout() {
    return rollout;
  }

  long step() {
    return step;
  }

  boolean isRolledOut() {
    return samples != null;
  }

  List<Experience> samples() {
    return samples;
  }

  /** The weight of the KL penalty in the next roll-out. */
  double klCoefficient() {
    return controller.coefficient();
  }

  ScoreScaling scaling() {
    return scaling;
  }

  long earlyStops() {
    return earlyStops;
  }

  /**
   * Takes a roll-out to learn from.
   *
   * @param kl its mean in nats per response, for the controller
   * @param scores how scores are scaled, those of this roll-out known
   */
  void rolledOut(List<Experience> drawn, double kl, ScoreScaling scores) {
    samples = drawn;
    scaling = scores;
    controller.update(kl, drawn.size());
  }

  /**
   * Takes a roll-out to learn from as trlX does, which moves the weight of the KL penalty later.
   *
   * @param kl what it will be moved by; NaN: what is found in the steps
   */
  void rolledOutAsTrlx(List<Experience> drawn, double kl, ScoreScaling scores) {
    samples = drawn;
    scaling = scores;
    measuredKl = kl;
  }

  /**
   * Moves the weight of the KL penalty, as trlX does between steps.
   *
   * @param approximateKl of the last step, for where the roll-out's KL is not measured
   * @param count samples of a step
   */
  void moveKlCoefficient(double approximateKl, long count) {
    controller.update(Double.isNaN(measuredKl) ? approximateKl : measuredKl, count);
  }

  void stepDone() {
    step++;
  }

  /** Ends the roll-out by target_kl, before all steps on it were made. */
  void stoppedEarly() {
    earlyStops++;
    rolloutDone();
  }

  void rolloutDone() {
    rollout++;
    step = 0;
    samples = null;
  }

  void evaluated(long atStep) {
    evaluatedAt = atStep;
  }

  boolean isEvaluated(long atStep) {
    return evaluatedAt == atStep;
  }
}

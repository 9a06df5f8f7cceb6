package org.rlhf4j.ppo.group;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.train.FixedModels;
import org.rlhf4j.core.train.MethodState;

/** Where a run of a group method stands, beside weights and optimizer. */
final class GroupState implements MethodState {
  private static final String SAMPLES_FILE = "rollout.jsonl";
  private static final String ROLLOUT = "rollout";
  private static final String STEP = "step_of_rollout";
  private static final String ROLLED_OUT = "rolled_out";
  private static final String EVALUATED = "evaluated_at_step";

  /** The roll-out under way, from 0; the number of roll-outs where all are done. */
  private int rollout;

  /** Optimizer steps that were done on it. */
  private long step;

  /** Its responses, group after group; null until they are drawn and scored. */
  private List<GroupSample> samples;

  private long evaluatedAt = -1;
  private final FixedModels fixedModels;

  private GroupState(FixedModels fixedModels) {
    this.fixedModels = fixedModels;
  }

  /** Goes on from a checkpoint, or begins where there is none. */
  static GroupState of(Map<String, Object> kept, Path checkpoint, FixedModels fixedModels) {
    GroupState state = new GroupState(fixedModels);
    if (checkpoint != null) {
      state.rollout = ((Number) kept.get(ROLLOUT)).intValue();
      state.step = ((Number) kept.get(STEP)).longValue();
      state.evaluatedAt = ((Number) kept.get(EVALUATED)).longValue();
      if (kept.get(ROLLED_OUT).equals(true)) {
        state.samples = GroupSampleFile.read(checkpoint.resolve(SAMPLES_FILE));
      }
    }
    return state;
  }

  @Override
  public Map<String, Object> values() {
    Map<String, Object> values = new LinkedHashMap<>();
    values.put(ROLLOUT, rollout);
    values.put(STEP, step);
    values.put(ROLLED_OUT, samples != null);
    values.put(EVALUATED, evaluatedAt);
    values.putAll(fixedModels.values());
    return values;
  }

  @Override
  public void writeFiles(Path checkpoint) {
    if (samples != null) {
      GroupSampleFile.write(checkpoint.resolve(SAMPLES_FILE), samples);
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

  List<GroupSample> samples() {
    return samples;
  }

  /** Takes a roll-out to learn from. */
  void rolledOut(List<GroupSample> drawn) {
    samples = drawn;
  }

  void stepDone() {
    step++;
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

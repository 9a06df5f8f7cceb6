package org.rlhf4j.raft;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.train.FixedModels;
import org.rlhf4j.core.train.MethodState;

/** Where a run of RAFT stands, beside weights and optimizer. */
final class RaftState implements MethodState {
  private static final String ROWS_FILE = "iteration_rows.jsonl";
  private static final String ITERATION = "iteration";
  private static final String STEP = "step_of_iteration";
  private static final String ROLLED_OUT = "rolled_out";
  private static final String REWARD = "reward";
  private static final String BEST = "best_reward";
  private static final String WITHOUT_BEST = "iterations_without_best";

  /** The iteration under way, from 0; the number of iterations where all are done. */
  private int iteration;

  /** Optimizer steps that were done in it. */
  private long step;

  /** The rows that it trains on; null until they are drawn and selected. */
  private List<TokenRow> rows;

  /** Mean reward of its samples; of no meaning until they are drawn. */
  private double reward;

  private double bestReward = Double.NEGATIVE_INFINITY;
  private int withoutBest;

  private final FixedModels fixedModels;

  private RaftState(FixedModels fixedModels) {
    this.fixedModels = fixedModels;
  }

  /** Goes on from a checkpoint, or begins where there is none. */
  static RaftState of(Map<String, Object> kept, Path checkpoint, FixedModels fixedModels) {
    RaftState state = new RaftState(fixedModels);
    if (checkpoint != null) {
      state.iteration = ((Number) kept.get(ITERATION)).intValue();
      state.step = ((Number) kept.get(STEP)).longValue();
      state.withoutBest = ((Number) kept.get(WITHOUT_BEST)).intValue();
      if (kept.get(BEST) instanceof Number best) {
        state.bestReward = best.doubleValue();
      }
      if (kept.get(ROLLED_OUT).equals(true)) {
        state.reward = ((Number) kept.get(REWARD)).doubleValue();
        state.rows = IterationFiles.readRows(checkpoint.resolve(ROWS_FILE));
      }
    }
    return state;
  }

  @Override
  public Map<String, Object> values() {
    Map<String, Object> values = new LinkedHashMap<>();
    values.put(ITERATION, iteration);
    values.put(STEP, step);
    values.put(ROLLED_OUT, rows != null);
    values.put(REWARD, rows == null ? null : reward);
    values.put(BEST, Double.isFinite(bestReward) ? bestReward : null);
    values.put(WITHOUT_BEST, withoutBest);
    values.putAll(fixedModels.values());
    return values;
  }

  @Override
  public void writeFiles(Path checkpoint) {
    if (rows != null) {
      IterationFiles.writeRows(checkpoint.resolve(ROWS_FILE), rows);
    }
  }

  int iteration() {
    return iteration;
  }

  long step() {
    return step;
  }

  boolean isRolledOut() {
    return rows != null;
  }

  List<TokenRow> rows() {
    return rows;
  }

  double reward() {
    return reward;
  }

  /** Takes the start model's held-out reward as the one to beat. */
  void startsFrom(double heldOutReward) {
    bestReward = heldOutReward;
  }

  void rolledOut(List<TokenRow> selected, double meanReward) {
    rows = selected;
    reward = meanReward;
  }

  void stepDone() {
    step++;
  }

  /**
   * Ends the iteration.
   *
   * @param judged the mean reward that early stopping looks at
   */
  void iterationDone(double judged) {
    withoutBest = judged > bestReward ? 0 : withoutBest + 1;
    bestReward = Math.max(bestReward, judged);
    iteration++;
    step = 0;
    rows = null;
  }

  /** Whether that many iterations brought no better reward; 0 asks for none. */
  boolean isStuck(int patience) {
    return patience > 0 && withoutBest >= patience;
  }
}

package org.rlhf4j.raft;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.Provenance;

/**
 * The models that a run reads but never changes, by their weights: a run that goes on with others
 * under the same names would be another run.
 *
 * @param start SHA-256 of the weights that the distance is measured from, in hexadecimal
 * @param reward SHA-256 of the reward model's weights, or the URL of the server that gives the
 *     reward; null where Java code does
 */
record FixedModels(String start, String reward) {
  private static final String START = "start_weights_sha256";
  private static final String REWARD = "reward_weights_sha256";

  /** Reads the start model's weight files. */
  static FixedModels of(Path start, String reward) {
    return new FixedModels(Provenance.weightsSha256(start), reward);
  }

  /** For a checkpoint. */
  Map<String, Object> values() {
    Map<String, Object> values = new LinkedHashMap<>();
    values.put(START, start);
    values.put(REWARD, reward);
    return values;
  }

  /**
   * Compares with what a checkpoint holds.
   *
   * @throws RlhfException where weights differ
   */
  void requireSame(Map<String, Object> kept) {
    require("model_name_or_path", kept.get(START), start);
    require("reward_model_name_or_path", kept.get(REWARD), reward);
  }

  private static void require(String key, Object before, String now) {
    if (!Objects.equals(before, now)) {
      throw RlhfException.config(
          ("%s: the weights are not those that the run was started with (SHA-256 %s then, %s now);"
                  + " a run can only be continued with the same weights")
              .formatted(key, before, now));
    }
  }
}

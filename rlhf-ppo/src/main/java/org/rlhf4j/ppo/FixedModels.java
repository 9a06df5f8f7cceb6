package org.rlhf4j.ppo;

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
 * @param start SHA-256 of the weights of the reference, in hexadecimal
 * @param reward SHA-256 of the reward model's weights, or the URL of the server that gives the
 *     reward; null where Java code does
 * @param value SHA-256 of the weights that the value network starts from; null where it starts from
 *     the policy
 */
record FixedModels(String start, String reward, String value) {
  private static final String START = "start_weights_sha256";
  private static final String REWARD = "reward_weights_sha256";
  private static final String VALUE = "value_weights_sha256";

  /**
   * Reads the weight files of start and value model.
   *
   * @param value null for none
   */
  static FixedModels of(Path start, String reward, Path value) {
    return new FixedModels(
        Provenance.weightsSha256(start),
        reward,
        value == null ? null : Provenance.weightsSha256(value));
  }

  /** For a checkpoint. */
  Map<String, Object> values() {
    Map<String, Object> values = new LinkedHashMap<>();
    values.put(START, start);
    values.put(REWARD, reward);
    values.put(VALUE, value);
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
    require("value_model_name_or_path", kept.get(VALUE), value);
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

package org.rlhf4j.core.train;

import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.report.Provenance;

/**
 * The models that a run reads but never changes: a run that goes on with others under the same
 * names would be another run.
 *
 * @param identities by the key of the configuration that names the model: the SHA-256 of its
 *     weights in hexadecimal, or the URL of a server. What has none, such as a reward in Java, is
 *     absent.
 */
public record FixedModels(Map<String, String> identities) {
  private static final String KEPT = "fixed_models";

  /** Copies. */
  public FixedModels {
    // In their order, which Map.copyOf would lose.
    identities = Collections.unmodifiableMap(new LinkedHashMap<>(identities));
  }

  /** Reads the weight files of the model that a run starts from. */
  public static FixedModels startingFrom(Path start) {
    return new FixedModels(Map.of("model_name_or_path", Provenance.weightsSha256(start)));
  }

  /**
   * With the reward.
   *
   * @param identity SHA-256 of its weights or its URL; null where Java code gives it
   */
  public FixedModels withReward(String identity) {
    return with("reward_model_name_or_path", identity);
  }

  /**
   * Reads the weight files of one more model.
   *
   * @param folder null: there is none
   */
  public FixedModels with(String key, Path folder) {
    return with(key, folder == null ? null : Provenance.weightsSha256(folder));
  }

  private FixedModels with(String key, String identity) {
    Map<String, String> all = new LinkedHashMap<>(identities);
    if (identity != null) {
      all.put(key, identity);
    }
    return new FixedModels(all);
  }

  /** For a checkpoint. */
  public Map<String, Object> values() {
    return Map.of(KEPT, identities);
  }

  /**
   * Compares with what a checkpoint holds.
   *
   * @throws RlhfException where weights differ
   */
  public void requireSame(Map<String, Object> kept) {
    Map<?, ?> before = kept.get(KEPT) instanceof Map<?, ?> map ? map : Map.of();
    Set<String> keys = new LinkedHashSet<>(identities.keySet());
    before.keySet().forEach(key -> keys.add((String) key));
    for (String key : keys) {
      String now = identities.get(key);
      if (!Objects.equals(before.get(key), now)) {
        throw RlhfException.config(
            ("%s: the weights are not those that the run was started with (SHA-256 %s then, %s"
                    + " now); a run can only be continued with the same weights")
                .formatted(key, before.get(key), now));
      }
    }
  }
}

package org.rlhf4j.raft;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.TreeSet;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.checkpoint.ModelFolder;
import org.rlhf4j.core.report.Provenance;

/**
 * The models that a run reads but never changes, by their weights: a run that goes on with others
 * under the same names would be another run.
 *
 * @param start SHA-256 of the weights that the distance is measured from, in hexadecimal
 * @param reward SHA-256 of the reward model's weights; null where Java code gives the reward
 */
record FixedModels(String start, String reward) {
  private static final String START = "start_weights_sha256";
  private static final String REWARD = "reward_weights_sha256";

  /**
   * Reads the weight files.
   *
   * @param reward null for none
   */
  static FixedModels of(Path start, Path reward) {
    return new FixedModels(hash(start), reward == null ? null : hash(reward));
  }

  /** The hash of the one weight file; of several the hash of their names and hashes. */
  private static String hash(Path folder) {
    ModelFolder model = ModelFolder.open(folder);
    TreeSet<Path> files = new TreeSet<>();
    model.tensorNames().forEach(name -> files.add(model.fileOf(name).path()));
    if (files.size() == 1) {
      return Provenance.sha256(files.first());
    }
    MessageDigest digest;
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
    for (Path file : files) {
      String line = file.getFileName() + " " + Provenance.sha256(file) + "\n";
      digest.update(line.getBytes(StandardCharsets.UTF_8));
    }
    return HexFormat.of().formatHex(digest.digest());
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

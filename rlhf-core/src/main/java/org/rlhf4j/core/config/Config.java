package org.rlhf4j.core.config;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.dataformat.yaml.YAMLGenerator;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * What can be done with a configuration record: a record whose components carry {@link Key}, or are
 * such records themselves, marked {@link Flattened}.
 *
 * <pre>{@code
 * SftConfig config = Config.of(SftConfig.class)
 *     .set("model_name_or_path", "models/base")
 *     .set("dataset_path", "train.jsonl")
 *     .set("output_dir", "runs/sft")
 *     .set("learning_rate", 1e-4)
 *     .build();
 * }</pre>
 */
public final class Config {
  private Config() {}

  /** Starts a record of this class, every key at its default. */
  public static <C extends Record> ConfigBuilder<C> of(Class<C> type) {
    return new ConfigBuilder<>(type);
  }

  /** The keys of a record class, in order: the table that help texts are made from. */
  public static List<ConfigKey> keys(Class<? extends Record> type) {
    return Schema.of(type).keys();
  }

  /**
   * Every key with its value as a user would write it: numbers, booleans, texts, lists of these.
   */
  public static Map<String, Object> toMap(Record config) {
    Map<String, Object> written = new LinkedHashMap<>();
    Schema.of(config.getClass())
        .values(config)
        .forEach((key, value) -> written.put(key, Schema.written(value)));
    return written;
  }

  /** The merged configuration as YAML; reading it gives an equal record. */
  public static String toYaml(Record config) {
    YAMLMapper mapper =
        YAMLMapper.builder()
            .disable(YAMLGenerator.Feature.WRITE_DOC_START_MARKER)
            .disable(YAMLGenerator.Feature.SPLIT_LINES)
            .enable(YAMLGenerator.Feature.MINIMIZE_QUOTES)
            .enable(YAMLGenerator.Feature.ALWAYS_QUOTE_NUMBERS_AS_STRINGS)
            .build();
    try {
      return mapper.writeValueAsString(toMap(config));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("texts, numbers and lists can always be written", e);
    }
  }

  /**
   * Checks a record that was built without {@link #of}: ranges and rules.
   *
   * @throws org.rlhf4j.core.RlhfException with exit status 2, whose message has one line per
   *     problem
   */
  public static void check(Record config) {
    Problems problems = new Problems();
    Schema schema = Schema.of(config.getClass());
    Map<String, Object> values = schema.values(config);
    for (ConfigKey key : schema.keys()) {
      if (values.get(key.name()) instanceof Number number && !key.inRange(number.doubleValue())) {
        problems.add(key.name() + ": found " + number + ", allowed: " + key.allowed());
      }
    }
    Schema.check(config, problems);
    ConfigBuilder.throwAll(problems);
  }

  /**
   * Compares the configuration of a run with that of its continuation. Only keys of logging,
   * saving, evaluation and reporting may differ.
   *
   * @return one line per forbidden difference, with both values; empty if the run may go on
   */
  public static <C extends Record> List<String> differencesThatForbidResume(
      C started, C continued) {
    Schema schema = Schema.of(started.getClass());
    Map<String, Object> before = schema.values(started);
    Map<String, Object> now = schema.values(continued);
    List<String> differences = new ArrayList<>();
    for (ConfigKey key : schema.keys()) {
      Object old = before.get(key.name());
      Object current = now.get(key.name());
      if (!key.declaration().mayChangeOnResume() && !Objects.equals(old, current)) {
        differences.add(
            key.name()
                + ": the run was started with "
                + Schema.written(old)
                + ", it cannot go on with "
                + Schema.written(current));
      }
    }
    return differences;
  }
}

package org.rlhf4j.cli.quickstart;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.rlhf4j.core.config.Config;
import org.rlhf4j.core.config.ConfigBuilder;

/**
 * One stage as a verb with its keys: what the quick start runs, and what it leaves as a command.
 *
 * @param verb {@code sft}, {@code reward}, {@code raft} or {@code ppo}; also the folder of its
 *     output
 * @param keys without {@code output_dir}; the value is a path where the key names a file or folder
 */
record StageCommand(String verb, Map<String, Object> keys) {
  /** The configuration that writes to a folder. */
  <C extends Record> C config(Class<C> type, Path output) {
    ConfigBuilder<C> builder = Config.of(type);
    keys.forEach((key, value) -> builder.set(key, value.toString()));
    return builder.set("output_dir", output.toString()).build();
  }

  /** The same command with other values for some keys. */
  StageCommand with(Map<String, Object> others) {
    Map<String, Object> all = new LinkedHashMap<>(keys);
    all.putAll(others);
    return new StageCommand(verb, all);
  }

  /**
   * The command that does the same again. It writes to {@code $here/repeat/verb}, and paths below
   * {@code folder} are written as below {@code $here}.
   */
  String shell(Path folder, int threads) {
    Map<String, Object> all = new LinkedHashMap<>(keys);
    all.put("output_dir", folder.resolve("repeat").resolve(verb));
    all.put("threads", threads);
    StringBuilder command = new StringBuilder("\"$rlhf\" ").append(verb);
    all.forEach(
        (key, value) -> {
          String text =
              value instanceof Path path
                  ? "\"$here/" + folder.relativize(path).toString().replace('\\', '/') + "\""
                  : value.toString();
          command.append(" \\\n  --").append(key).append(' ').append(text);
        });
    return command.append('\n').toString();
  }
}

package org.rlhf4j.cli;

import java.util.List;
import org.rlhf4j.cli.bench.BenchConfig;
import org.rlhf4j.core.generate.GenerationConfig;
import org.rlhf4j.core.generate.ScoreConfig;
import org.rlhf4j.raft.RaftConfig;
import org.rlhf4j.raft.SelectConfig;
import org.rlhf4j.reward.RewardConfig;
import org.rlhf4j.sft.SftConfig;

/**
 * A kind of configuration that {@code validate} knows.
 *
 * @param verb the verb that the configuration is for
 * @param type its record
 */
record ConfigKind(String verb, Class<? extends Record> type) {
  static final List<ConfigKind> ALL =
      List.of(
          new ConfigKind("sft", SftConfig.class),
          new ConfigKind("reward", RewardConfig.class),
          new ConfigKind("raft", RaftConfig.class),
          new ConfigKind("generate", GenerationConfig.class),
          new ConfigKind("score", ScoreConfig.class),
          new ConfigKind("select", SelectConfig.class),
          new ConfigKind("bench", BenchConfig.class));
}

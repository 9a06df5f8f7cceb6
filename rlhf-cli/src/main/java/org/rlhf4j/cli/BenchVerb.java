package org.rlhf4j.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import org.rlhf4j.cli.bench.BenchConfig;
import org.rlhf4j.cli.bench.Benchmark;
import org.rlhf4j.core.ExitCode;

/** {@code bench}: prints one JSON line. */
final class BenchVerb implements Verb<BenchConfig> {
  @Override
  public String name() {
    return "bench";
  }

  @Override
  public String summary() {
    return "Times training or sampling of a random model and prints one JSON line.";
  }

  @Override
  public String example() {
    return "bench --shape examples/models/tinystories-260k/config.json --workload sft"
        + " --steps 3";
  }

  @Override
  public Class<BenchConfig> config() {
    return BenchConfig.class;
  }

  @Override
  public ExitCode run(BenchConfig config, Session session) {
    try {
      session.out().println(new JsonMapper().writeValueAsString(new Benchmark(config).run()));
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("texts and numbers can be written", e);
    }
    return ExitCode.DONE;
  }
}

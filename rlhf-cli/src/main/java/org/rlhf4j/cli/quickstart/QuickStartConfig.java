package org.rlhf4j.cli.quickstart;

import java.nio.file.Path;
import org.rlhf4j.core.config.Key;

/** The keys of {@code quickstart}. {@link #outputDir()} is null where none is given. */
public record QuickStartConfig(
    @Key(
            doc =
                "New or empty folder for models, data and results; none: runs/quickstart, or the next"
                    + " free number beside it.",
            defaultValue = Key.NONE)
        Path outputDir,
    @Key(doc = "Every random choice is a function of it.", defaultValue = "42", atLeast = 0)
        long seed) {}

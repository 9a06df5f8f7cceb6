package org.rlhf4j.reward;

import org.rlhf4j.core.config.DtypeChoice;
import org.rlhf4j.core.config.Key;

/**
 * The keys of {@code serve-reward}. The token that clients must send is no key: it is read from the
 * environment variable {@value RewardToken#VARIABLE}.
 */
public record ServeRewardConfig(
    @Key(
            doc = "Folder of the reward model; it needs a tokenizer.",
            existing = Key.Existing.MODEL_FOLDER,
            aliases = {"reward_pretrain", "model_path"})
        String modelNameOrPath,
    @Key(
            doc =
                "Address to listen at. Another than this machine's own loopback needs a token in the"
                    + " environment variable RLHF4J_REWARD_TOKEN.",
            defaultValue = "127.0.0.1")
        String host,
    @Key(
            doc = "Port to listen at; 0: any free one.",
            defaultValue = "5000",
            atLeast = 0,
            atMost = 65535)
        int port,
    @Key(doc = "Texts that are computed side by side.", defaultValue = "16", atLeast = 1)
        int batchSize,
    @Key(
            doc = "Largest body of a request in MiB; a larger one is refused.",
            defaultValue = "16",
            atLeast = 1,
            atMost = 1024)
        int maxBodyMib,
    @Key(
            doc =
                "Numbers to compute with. A score that is not finite is answered by 422 with"
                    + " \"error_type\": \"non_finite\", and not asked for again by our clients.",
            defaultValue = "auto")
        DtypeChoice dtype,
    @Key(
            doc = "Where to compute; N counts the GPUs from 0.",
            defaultValue = "auto",
            choices = {"auto", "cpu", "cuda", "cuda:N"})
        String device) {}
